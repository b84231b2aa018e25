programs     += presenced
presenced.src  := main.c
presenced.core :=
