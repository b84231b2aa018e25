programs     += proxyd
proxyd.src  := main.c shell.c resolve.c wire.c wire_worker.c wire_udp.c wire_stream.c
proxyd.core := proxy.c dispatch.c register.c pending.c forward.c outgoing.c notify.c deliver.c \
               auth.c registrar.c rebind.c \
               sip/uri.c sip/fields.c sip/msg.c sip/parse.c sip/frame.c sip/print.c sip/table.c \
               sip/transactions.c sip/server_tx.c sip/client_tx.c
