/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef SF_WRITE_ROOM_H
#define SF_WRITE_ROOM_H

#include <stdbool.h>
#include <stdint.h>

/*
 * Internal to src/write: how much is acknowledged before the bucket has it, and who waits because
 * that is too much. Thread-safe.
 *
 * One file that cannot be sent shall not hold up all others: what has failed SF_ROOM_STRIKES times,
 * each time but the first after something else was stored, is stuck, and counts for no bound any
 * more. That needs others that are sent: where an old file that has failed is in the way, one that
 * waits is let in, and the next when something was stored, or after a minute.
 */
struct sf_keeping;
struct sf_room;
struct sf_writer;

#define SF_ROOM_STRIKES 3

/* What a content takes of the room. */
struct sf_charge {
    struct sf_charge *prev, *next; /* oldest first; room's lock protects all of it */
    bool on;
    bool stuck;       /* in no list, and counted apart */
    unsigned strikes; /* its failures, but only one of those between which nothing was stored */
    uint64_t stored;  /* the room's count at the last of them */
    uint64_t bytes;
    int64_t made_ns; /* wall clock; of the first keep that is not in the bucket */
};

int sf_room_new(uint64_t files, uint64_t bytes, int64_t age_ms, struct sf_room **ret);
void sf_room_free(struct sf_room *r);
/* Is there room for @bytes of this content? Then it is charged; else @k waits, and sf_keep_go() is
 * called when there is. */
bool sf_room_enter(struct sf_writer *w, struct sf_keeping *k, uint64_t bytes);
/* The journal is full: wait until something goes. False: nothing will. @has: the content has a
 * place for a state before; else it gives up its own, so that no two wait for each other. */
bool sf_room_wait(struct sf_writer *w, struct sf_keeping *k, bool has);
/* It takes @bytes, whatever the bounds; @made_ns: since when, 0 = now. */
void sf_room_charge(struct sf_writer *w, struct sf_charge *ch, uint64_t bytes, int64_t made_ns);
/* Nothing of it is kept any more. */
void sf_room_leave(struct sf_writer *w, struct sf_charge *ch);
/* An upload of it has failed, and will be tried again. True: it is stuck from now on. */
bool sf_room_failed(struct sf_writer *w, struct sf_charge *ch);
/* The service has taken something. */
void sf_room_stored(struct sf_writer *w);
/* @k waits no more. True: it did. */
bool sf_room_cancel(struct sf_writer *w, struct sf_keeping *k);
/* While it is open nobody waits. */
void sf_room_open(struct sf_writer *w, bool open);

struct sf_room_stats {
    uint64_t files, bytes; /* without what is stuck, as is the oldest */
    uint64_t stuck;        /* files */
    unsigned waiting;
    int64_t oldest_ns; /* wall clock; 0 = none */
};
void sf_room_get_stats(struct sf_room *r, struct sf_room_stats *out);

/* Between keep.c and room.c: the room's list of those who wait. */
struct sf_keeping_link {
    struct sf_keeping_link *prev, *next;
    struct sf_charge *charge; /* of its content */
    uint64_t bytes;
    bool waits;
    _Atomic bool must; /* finds room in any case; set before sf_room_cancel() */
};
struct sf_keeping_link *sf_keeping_link(struct sf_keeping *k);
/* It may go on: on a thread that may do local I/O. */
void sf_keep_admitted(struct sf_keeping_link *link);

#endif
