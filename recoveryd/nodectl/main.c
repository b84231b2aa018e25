// SPDX-License-Identifier: Apache-2.0
#include "recoveryd/nodectl/nodectl.h"

int main(int argc, char **argv)
{
    return nodectl_main(argc, argv);
}
