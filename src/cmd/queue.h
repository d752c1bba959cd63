/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef SF_CMD_QUEUE_H
#define SF_CMD_QUEUE_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "write/write.h"

/* How `supafs queue` shows what it was told, one place (a mount, or a state directory) after the
 * other: cmd-queue.c asks, cmd-queue-print.c prints. */
struct queue_print {
    bool json, show; /* one change, all that is known of it */
    bool tty;
    bool titles;          /* say before each place which it is */
    const char *title;    /* of the present one */
    char state_dir[4096]; /* "" = not told */
    bool offline;         /* no mount has it: nothing is sent now */

    bool begun; /* something of it was printed */
    uint64_t n, bytes, n_aside;
    int64_t oldest_ns;
    json_t *changes, *aside; /* of the present place */
    json_t *places;
};

/* Another place; @title is borrowed until the next. */
void queue_place(struct queue_print *p, const char *title, bool offline);
int queue_change(void *arg, const struct sf_pending_row *r);
int queue_aside(void *arg, const struct sf_quarantine_row *r);
/* The end of a place. @named: it is told also when nothing is there. */
void queue_place_end(struct queue_print *p, bool named);
/* The end of all: JSON is printed. @many: as a list, whatever there was. */
void queue_end(struct queue_print *p, bool many);

#endif
