programs     += routerd
routerd.src  := main.c shell.c shell_ops.c stream_io.c stream_worker.c stream_account.c fabric.c durable.c
routerd.core :=
