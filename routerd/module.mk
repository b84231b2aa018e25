programs     += routerd
routerd.src  := main.c
routerd.core :=
