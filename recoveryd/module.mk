programs       += recoveryd nodectl
recoveryd.src  := main.c manager.c effects.c admin.c daemon_links.c heartbeat.c supervisor.c state_file.c
recoveryd.core := detector.c alarm_list.c rcv.c facts.c sure.c tell.c rules.c commands.c edges.c roles.c state_view.c peer.c services.c

# The node's PostgreSQL.
recoveryd.src  += postgres.c pg/watch.c pg/operation.c pg/plans.c pg/steps_node.c pg/steps_peer.c pg/files.c pg/child.c pg/pq.c \
                  migrate.c params_source.c params_text.c metrics_http.c
recoveryd.core += pg/settings.c pg/control.c metrics_text.c

nodectl.dir    := recoveryd/nodectl
nodectl.src    := main.c nodectl.c client.c output.c admin.c database.c password.c users_csv.c users_hash.c \
                  cmd_ha.c cmd_service.c cmd_dbreplication.c cmd_alarm.c cmd_user.c cmd_param.c client.c output.c cmd_ha.c cmd_service.c cmd_alarm.c cmd_dbreplication.c
