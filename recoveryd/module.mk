programs       += recoveryd nodectl
recoveryd.src  := main.c
recoveryd.core := detector.c

nodectl.dir    := recoveryd/nodectl
nodectl.src    := main.c
