libraries   += common
common.core := str.c buf.c arena.c err.c frame.c jid.c view.c directory.c xml_tree.c replica.c replica_store.c replica_in.c replica_out.c timer.c alarms.c
common.src  := mem.c log.c loop.c digest.c digest_pbkdf2.c conf.c params.c metrics.c ipc.c ipc_link.c daemon.c net.c net_conn.c \
               tls.c iopool.c db.c db_conn.c dns.c dns_reply.c xml.c replica_link.c users.c
