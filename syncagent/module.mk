programs       += syncagent
syncagent.src  := main.c agent.c
syncagent.core :=
