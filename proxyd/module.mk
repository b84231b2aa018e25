programs     += proxyd
proxyd.src  := main.c
proxyd.core := sip/uri.c sip/fields.c sip/msg.c sip/parse.c sip/frame.c sip/print.c
