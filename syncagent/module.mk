programs     += syncagent
syncagent.src  := main.c
syncagent.core :=
