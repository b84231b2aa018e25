programs       += presenced
presenced.src  := main.c shell.c
presenced.core := engine.c presentity.c composition.c publication.c subscription.c notify.c \
                  device.c moves.c pidf.c
