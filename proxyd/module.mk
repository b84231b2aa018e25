programs     += proxyd
proxyd.src  := main.c
proxyd.core := deadlines.c \
               sip/uri.c sip/fields.c sip/msg.c sip/parse.c sip/frame.c sip/print.c sip/table.c \
               sip/transactions.c sip/server_tx.c sip/client_tx.c
