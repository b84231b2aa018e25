programs     += routerd
routerd.src  := main.c shell.c shell_ops.c stream_io.c stream_worker.c stream_account.c fabric.c durable.c
routerd.core := router.c stream.c negotiate.c sasl.c stanza.c session.c sm.c records.c later.c account.c client.c \
                message.c im.c delivery.c dress.c known.c offline.c forward.c route.c \
                presence.c client_presence.c sip_presence.c subscription.c roster.c roster_iq.c devices.c \
                iq.c disco.c ping.c session_iq.c activate.c release.c
