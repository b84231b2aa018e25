programs     += proxyd
proxyd.src  := main.c
proxyd.core :=
