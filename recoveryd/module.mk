programs       += recoveryd nodectl
recoveryd.src  := main.c
recoveryd.core := detector.c

# The node's PostgreSQL.
recoveryd.src  += postgres.c pg/watch.c pg/operation.c pg/plans.c pg/files.c pg/child.c pg/pq.c \
                  migrate.c params_source.c params_text.c
recoveryd.core += pg/settings.c pg/control.c

nodectl.dir    := recoveryd/nodectl
nodectl.src    := main.c
