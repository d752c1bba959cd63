/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "write/journal-walk.h"

#include <endian.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "store/env.h"

static void
page_fini(struct sf_journal_reader *r)
{
    for (unsigned i = 0; i < r->n; i++)
        free(r->rows[i].text);
    r->n = r->at = 0;
}

static int
page_row(void *arg, const void *key, size_t key_len, const void *value, size_t value_len)
{
    struct sf_journal_reader *p = arg;
    struct sf_raw_record *r = &p->rows[p->n];
    uint64_t seq = 0;
    if (key_len != sizeof seq)
        return 0; /* nothing that we wrote */
    memcpy(&seq, key, sizeof seq);
    *r = (struct sf_raw_record){
        .seq = be64toh(seq), .text = malloc(value_len + 1), .len = value_len};
    if (!r->text)
        return -ENOMEM;
    p->n++; /* before the bytes are looked at: in a damaged file that may end the walk */
    memcpy(r->text, value, value_len);
    r->text[value_len] = '\0';
    return p->n == SF_JOURNAL_PAGE;
}

/* The first behind w->after, in *ret; NULL = there is none. */
static int
reader_head(struct sf_journal_walk *w, struct sf_journal_reader *r, struct sf_raw_record **ret)
{
    for (;;) {
        while (r->at < r->n && r->rows[r->at].seq <= w->after)
            r->at++;
        if (r->at < r->n || !r->more)
            break;
        uint64_t key = htobe64(w->after);
        page_fini(r);
        int rc = sf_env_walk(r->env, w->table, &key, sizeof key, page_row, r);
        r->more = rc == 1;
        if (rc < 0)
            return rc;
    }
    *ret = r->at < r->n ? &r->rows[r->at] : NULL;
    return 0;
}

void
sf_journal_walk_begin(struct sf_journal_walk *w, struct sf_env *synced, struct sf_env *brief,
                      unsigned table)
{
    memset(w, 0, sizeof *w);
    w->synced.env = synced;
    w->brief.env = brief;
    w->synced.more = w->brief.more = true;
    w->table = table;
}

void
sf_journal_walk_fini(struct sf_journal_walk *w)
{
    page_fini(&w->synced);
    page_fini(&w->brief);
}

int
sf_journal_walk_next(struct sf_journal_walk *w, const struct sf_raw_record **ret)
{
    struct sf_raw_record *synced = NULL, *brief = NULL;
    int rc = reader_head(w, &w->synced, &synced);
    if (rc)
        return rc;
    rc = reader_head(w, &w->brief, &brief);
    if (rc == -EUCLEAN) { /* it begins empty */
        page_fini(&w->brief);
        brief = NULL;
    } else if (rc) {
        return rc;
    }
    bool first = brief && (!synced || brief->seq < synced->seq);
    struct sf_raw_record *r = first ? brief : synced;
    if (r) {
        r->brief = first;
        r->twice = synced && brief && synced->seq == brief->seq;
        w->after = r->seq;
    }
    *ret = r;
    return 0;
}
