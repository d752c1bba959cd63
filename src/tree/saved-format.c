/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "tree/saved-format.h"

#include "base/hash.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define FORMAT   1
#define HEAD     'H'
#define PAGE     'P'
#define SUM_LEN  8
#define BOOT_LEN 36
#define TEXT_MAX 8192 /* bytes of a bucket's id or a directory's key */
#define USUAL    "no-cache"

enum row_flag {
    ROW_SYMLINK = 1 << 2, /* the lowest two bits are the kind */
    ROW_ETAG_OPEN = 1 << 3,
    ROW_ID_UUID = 1 << 4,
    ROW_ETAG_MD5 = 1 << 5,
    ROW_CHECKED = 1 << 6,
    ROW_SPECIAL = 1 << 7,
    ROW_MIME = 1 << 8,
    ROW_USUAL = 1 << 9, /* others' Cache-Control is what the service makes of none */
    ROW_OTHERS = 1 << 10,
    ROW_ALL = (1 << 11) - 1,
};

enum attrs_flag {
    ATTRS_MARKED = 1 << 7, /* the bits below are those of enum sf_mark_field */
    ATTRS_GUESSED = 1 << 8,
    ATTRS_XATTRS = 1 << 9,
    ATTRS_HAS_MTIME = 1 << 10,
    ATTRS_HAS_CTIME = 1 << 11,
    ATTRS_HAS_RDEV = 1 << 12,
    ATTRS_ALL = (1 << 13) - 1,
};

enum head_flag {
    HEAD_LISTING = 1 << 0,
    HEAD_COMPLETE = 1 << 1,
    HEAD_ATTRS = 1 << 2,
    HEAD_PLACEHOLDER = 1 << 3,
    HEAD_ALL = (1 << 4) - 1,
};

/* ---- keys ------------------------------------------------------------------------------------ */

void
saved_id_of(enum saved_kind kind, const char *bucket, const char *prefix, struct saved_id *out)
{
    size_t nb = strlen(bucket), np = strlen(prefix);
    sf_autobuf struct sf_buf b = SF_BUF_INIT;
    uint64_t h[2];
    if (sf_buf_reserve(&b, nb + np + 2) == 0) {
        (void)!sf_buf_putc(&b, (char)kind);
        (void)!sf_buf_append(&b, bucket, nb + 1);
        (void)!sf_buf_append(&b, prefix, np);
    }
    /* Fixed numbers: the same in every run. What has the same hash is told apart by the head. */
    h[0] = sf_siphash(0x5a56ed11, 1, b.data, b.len);
    h[1] = sf_siphash(0x5a56ed11, 2, b.data, b.len);
    memcpy(out->hash, h, sizeof out->hash);
}

void
saved_key(const struct saved_id *id, uint32_t page, uint8_t out[SAVED_KEY_LEN])
{
    out[0] = 2;
    memcpy(out + 1, id->hash, sizeof id->hash);
    for (int i = 0; i < 4; i++)
        out[17 + i] = (uint8_t)(page >> (24 - 8 * i));
}

/* ---- numbers and texts ----------------------------------------------------------------------- */

static int
put_u(struct sf_buf *b, uint64_t v)
{
    uint8_t out[10];
    size_t n = 0;
    do {
        out[n++] = (uint8_t)((v & 0x7f) | (v > 0x7f ? 0x80 : 0));
        v >>= 7;
    } while (v);
    return sf_buf_append(b, out, n);
}

static int
put_s(struct sf_buf *b, int64_t v)
{
    return put_u(b, (uint64_t)v << 1 ^ (uint64_t)(v >> 63));
}

static int
put_text(struct sf_buf *b, const char *s, size_t len)
{
    int rc = put_u(b, len);
    return rc < 0 ? rc : sf_buf_append(b, s, len);
}

static int
put_fixed(struct sf_buf *b, uint64_t v)
{
    uint8_t out[8];
    for (int i = 0; i < 8; i++)
        out[i] = (uint8_t)(v >> (8 * i));
    return sf_buf_append(b, out, sizeof out);
}

static bool
get_bytes(struct saved_reader *r, size_t n, const uint8_t **ret)
{
    if ((size_t)(r->end - r->p) < n)
        return false;
    *ret = r->p;
    r->p += n;
    return true;
}

static bool
get_u(struct saved_reader *r, uint64_t *ret)
{
    uint64_t v = 0;
    for (unsigned shift = 0; shift < 64 && r->p < r->end; shift += 7) {
        uint8_t byte = *r->p++;
        if (shift == 63 && byte > 1)
            return false;
        v |= (uint64_t)(byte & 0x7f) << shift;
        if (!(byte & 0x80)) {
            *ret = v;
            return byte || !shift; /* one way only to write a number */
        }
    }
    return false;
}

static bool
get_s(struct saved_reader *r, int64_t *ret)
{
    uint64_t v;
    if (!get_u(r, &v))
        return false;
    *ret = (int64_t)(v >> 1 ^ -(v & 1));
    return true;
}

static bool
get_fixed(struct saved_reader *r, uint64_t *ret)
{
    const uint8_t *p;
    if (!get_bytes(r, 8, &p))
        return false;
    *ret = 0;
    for (int i = 0; i < 8; i++)
        *ret |= (uint64_t)p[i] << (8 * i);
    return true;
}

/* A text without NUL of at most @max bytes. */
static bool
get_text(struct saved_reader *r, char *out, size_t max)
{
    uint64_t len;
    const uint8_t *p;
    if (!get_u(r, &len) || len > max || !get_bytes(r, len, &p) || memchr(p, 0, len))
        return false;
    memcpy(out, p, len);
    out[len] = '\0';
    return true;
}

/* ---- ids and ETags --------------------------------------------------------------------------- */

static int
hex(char c)
{
    return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* 32 lower case hex digits, of which some places hold something else. */
static bool
pack_hex(const char *s, const char *form, uint8_t out[16])
{
    unsigned n = 0;
    for (; *form; form++, s++) {
        if (*form != 'x') {
            if (*s != *form)
                return false;
            continue;
        }
        int v = hex(*s);
        if (v < 0)
            return false;
        out[n / 2] = (uint8_t)(n & 1 ? out[n / 2] | v : v << 4);
        n++;
    }
    return !*s;
}

static void
unpack_hex(const uint8_t in[16], const char *form, char *out)
{
    unsigned n = 0;
    for (; *form; form++)
        if (*form != 'x') {
            *out++ = *form;
        } else {
            *out++ = "0123456789abcdef"[n & 1 ? in[n / 2] & 15 : in[n / 2] >> 4];
            n++;
        }
    *out = '\0';
}

static const char uuid_form[] = "xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx";
static const char md5_form[] = "\"xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx\"";

static int
put_packed(struct sf_buf *b, const char *s, bool packed, const uint8_t bytes[16])
{
    return packed ? sf_buf_append(b, bytes, 16) : put_text(b, s, strlen(s));
}

static bool
get_packed(struct saved_reader *r, bool packed, const char *form, char *out, size_t max)
{
    const uint8_t *p;
    if (!packed)
        return get_text(r, out, max);
    if (!get_bytes(r, 16, &p))
        return false;
    unpack_hex(p, form, out);
    return true;
}

/* ---- attributes ------------------------------------------------------------------------------ */

static int
put_attrs(struct sf_buf *b, const struct saved_attrs *a)
{
    const struct sf_mark *m = &a->mark;
    unsigned valid = a->marked ? m->valid & 0x7f : 0, flags = valid;
    bool rdev = a->marked && m->valid & SF_MARK_RDEV;
    bool mtime = a->mtime_ns != SAVED_NO_TIME, ctime = a->ctime_ns != SAVED_NO_TIME;
    if (a->marked)
        flags |= ATTRS_MARKED | (m->guessed ? ATTRS_GUESSED : 0u) | (m->xattrs ? ATTRS_XATTRS : 0u);
    flags |= (mtime ? ATTRS_HAS_MTIME : 0u) | (ctime ? ATTRS_HAS_CTIME : 0u) |
             (rdev ? ATTRS_HAS_RDEV : 0u);
    int rc = put_u(b, flags);
    if (!rc && mtime)
        rc = put_s(b, a->mtime_ns);
    if (!rc && ctime) /* mostly about the same */
        rc = put_s(b, (int64_t)((uint64_t)a->ctime_ns - (mtime ? (uint64_t)a->mtime_ns : 0)));
    if (!rc && valid & SF_MARK_MODE)
        rc = put_u(b, m->mode);
    if (!rc && valid & SF_MARK_UID)
        rc = put_u(b, m->uid);
    if (!rc && valid & SF_MARK_GID)
        rc = put_u(b, m->gid);
    if (!rc && valid & SF_MARK_ATIME)
        rc = put_s(b, m->atime_ns);
    if (!rc && valid & SF_MARK_INO)
        rc = put_fixed(b, m->ino);
    if (!rc && rdev)
        rc = put_u(b, m->rdev);
    return rc;
}

static bool
get_mark(struct saved_reader *r, uint64_t flags, struct saved_attrs *a)
{
    struct sf_mark *m = &a->mark;
    uint64_t mode = 0, uid = 0, gid = 0, rdev = 0;
    m->valid = (flags & 0x7f) | (flags & ATTRS_HAS_RDEV ? SF_MARK_RDEV : 0u);
    m->guessed = flags & ATTRS_GUESSED;
    m->xattrs = flags & ATTRS_XATTRS;
    if ((m->valid & SF_MARK_MODE && !get_u(r, &mode)) ||
        (m->valid & SF_MARK_UID && !get_u(r, &uid)) ||
        (m->valid & SF_MARK_GID && !get_u(r, &gid)) ||
        (m->valid & SF_MARK_ATIME && !get_s(r, &m->atime_ns)) ||
        (m->valid & SF_MARK_INO && !get_fixed(r, &m->ino)) ||
        (m->valid & SF_MARK_RDEV && !get_u(r, &rdev)))
        return false;
    if (mode > (S_IFMT | 07777) || uid >= UINT32_MAX || gid >= UINT32_MAX)
        return false;
    m->mode = (mode_t)mode;
    m->uid = (uid_t)uid;
    m->gid = (gid_t)gid;
    m->rdev = (dev_t)rdev;
    m->mtime_ns = m->valid & SF_MARK_MTIME ? a->mtime_ns : 0;
    m->ctime_ns = m->valid & SF_MARK_CTIME ? a->ctime_ns : 0;
    return !(m->valid & SF_MARK_MODE) || m->mode & S_IFMT;
}

static bool
get_attrs(struct saved_reader *r, struct saved_attrs *a)
{
    uint64_t flags;
    int64_t since = 0;
    *a = (struct saved_attrs){.mtime_ns = SAVED_NO_TIME, .ctime_ns = SAVED_NO_TIME};
    if (!get_u(r, &flags) || flags > ATTRS_ALL)
        return false;
    bool mtime = flags & ATTRS_HAS_MTIME, ctime = flags & ATTRS_HAS_CTIME;
    if ((flags & SF_MARK_MTIME && !mtime) || (flags & SF_MARK_CTIME && !ctime))
        return false;
    if (!(flags & ATTRS_MARKED) &&
        flags & (ATTRS_MARKED - 1u + ATTRS_GUESSED + ATTRS_XATTRS + ATTRS_HAS_RDEV))
        return false;
    if ((mtime && !get_s(r, &a->mtime_ns)) || (ctime && !get_s(r, &since)))
        return false;
    if (ctime)
        a->ctime_ns = (int64_t)((uint64_t)since + (mtime ? (uint64_t)a->mtime_ns : 0));
    if ((mtime && a->mtime_ns == SAVED_NO_TIME) || (ctime && a->ctime_ns == SAVED_NO_TIME))
        return false;
    a->marked = flags & ATTRS_MARKED;
    return get_mark(r, flags, a);
}

/* ---- pages ----------------------------------------------------------------------------------- */

int
saved_page_begin(struct sf_buf *out)
{
    const char head[2] = {PAGE, FORMAT};
    sf_buf_clear(out);
    return sf_buf_append(out, head, sizeof head);
}

bool
saved_page_full(const struct sf_buf *page, unsigned rows)
{
    return rows >= SAVED_ROWS || page->len >= SAVED_PAGE_BYTES;
}

static int
add_object(struct sf_buf *out, const struct saved_row *row, unsigned flags, const uint8_t uuid[16],
           const uint8_t md5[16])
{
    int rc = put_packed(out, row->id, flags & ROW_ID_UUID, uuid);
    if (!rc)
        rc = put_packed(out, row->etag, flags & ROW_ETAG_MD5, md5);
    if (!rc)
        rc = put_u(out, row->size);
    if (!rc && row->special)
        rc = put_u(out, row->special);
    if (!rc && flags & ROW_MIME)
        rc = put_text(out, row->mime, strlen(row->mime));
    if (!rc && flags & ROW_OTHERS)
        rc = put_text(out, row->cache_control, strlen(row->cache_control));
    return rc ? rc : put_attrs(out, &row->attrs);
}

static int
add_bucket(struct sf_buf *out, const struct saved_row *row)
{
    int rc = put_u(out, row->size);
    if (!rc)
        rc = put_text(out, row->mimes_len ? row->mimes : "", row->mimes_len);
    return rc ? rc : put_attrs(out, &row->attrs);
}

static unsigned
others_flag(const struct saved_row *row)
{
    if (!row->cache_control_known)
        return 0;
    return strcmp(row->cache_control, USUAL) ? ROW_OTHERS : ROW_USUAL;
}

int
saved_page_add(struct sf_buf *out, const struct saved_row *row)
{
    uint8_t uuid[16], md5[16];
    size_t before = out->len;
    unsigned flags = row->kind | (row->checked_ns ? ROW_CHECKED : 0u);
    if (row->mimes_len > SAVED_MIMES_MAX)
        return -ENAMETOOLONG;
    if (row->kind == SAVED_OBJECT)
        flags |= (row->symlink ? ROW_SYMLINK : 0u) | (row->special ? ROW_SPECIAL : 0u) |
                 (row->etag_open ? ROW_ETAG_OPEN : 0u) | (row->mime[0] ? ROW_MIME : 0u) |
                 others_flag(row) | (pack_hex(row->id, uuid_form, uuid) ? ROW_ID_UUID : 0u) |
                 (pack_hex(row->etag, md5_form, md5) ? ROW_ETAG_MD5 : 0u);
    int rc = put_u(out, flags);
    if (!rc)
        rc = put_text(out, row->comp, strlen(row->comp));
    if (!rc && row->checked_ns)
        rc = put_s(out, row->checked_ns);
    if (!rc && row->kind == SAVED_OBJECT)
        rc = add_object(out, row, flags, uuid, md5);
    if (!rc && row->kind == SAVED_BUCKET)
        rc = add_bucket(out, row);
    if (rc)
        sf_buf_truncate(out, before);
    return rc;
}

int
saved_page_seal(struct sf_buf *page, uint64_t *sum)
{
    *sum = sf_hash64(page->data, page->len);
    return put_fixed(page, *sum);
}

/* What is between the first two bytes and the sum. */
static int
open_value(const void *data, size_t len, uint8_t kind, struct saved_reader *r, uint64_t *sum)
{
    const uint8_t *p = data;
    if (len < 2 + SUM_LEN || p[0] != kind || p[1] != FORMAT)
        return -EUCLEAN;
    struct saved_reader tail = {p + len - SUM_LEN, p + len};
    if (!get_fixed(&tail, sum) || *sum != sf_hash64(data, len - SUM_LEN))
        return -EUCLEAN;
    *r = (struct saved_reader){p + 2, p + len - SUM_LEN};
    return 0;
}

int
saved_page_open(const void *data, size_t len, uint64_t sum, struct saved_reader *r)
{
    uint64_t own;
    int rc = open_value(data, len, PAGE, r, &own);
    return rc == 0 && own != sum ? -EUCLEAN : rc;
}

static bool
get_special(struct saved_reader *r, struct saved_row *row)
{
    uint64_t v;
    if (!get_u(r, &v) || !v || v > 15 || row->symlink)
        return false;
    row->special = (uint8_t)v;
    return true;
}

static bool
get_others(struct saved_reader *r, uint64_t flags, struct saved_row *row)
{
    row->cache_control_known = flags & (ROW_USUAL | ROW_OTHERS);
    if (flags & ROW_USUAL)
        memcpy(row->cache_control, USUAL, sizeof USUAL);
    if (!(flags & ROW_OTHERS))
        return true;
    return !(flags & ROW_USUAL) && get_text(r, row->cache_control, WORD_MAX) &&
           strcmp(row->cache_control, USUAL) != 0;
}

static bool
next_object(struct saved_reader *r, uint64_t flags, struct saved_row *row)
{
    row->symlink = flags & ROW_SYMLINK;
    row->etag_open = flags & ROW_ETAG_OPEN;
    return get_packed(r, flags & ROW_ID_UUID, uuid_form, row->id, sizeof row->id - 1) &&
           get_packed(r, flags & ROW_ETAG_MD5, md5_form, row->etag, SAVED_ETAG_MAX) &&
           get_u(r, &row->size) && (!(flags & ROW_SPECIAL) || get_special(r, row)) &&
           (!(flags & ROW_MIME) || (get_text(r, row->mime, WORD_MAX) && row->mime[0])) &&
           get_others(r, flags, row) && get_attrs(r, &row->attrs);
}

static bool
next_bucket(struct saved_reader *r, struct saved_row *row)
{
    uint64_t len;
    const uint8_t *p;
    if (!get_u(r, &row->size) || !get_u(r, &len) || len > SAVED_MIMES_MAX ||
        !get_bytes(r, len, &p) || (len && p[len - 1]))
        return false;
    row->mimes = len ? (const char *)p : NULL;
    row->mimes_len = len;
    return get_attrs(r, &row->attrs);
}

int
saved_page_next(struct saved_reader *r, struct saved_row *row)
{
    uint64_t flags;
    if (r->p == r->end)
        return 0;
    *row = (struct saved_row){.comp = ""};
    if (!get_u(r, &flags) || flags > ROW_ALL || (flags & 3) > SAVED_BUCKET)
        return -EUCLEAN;
    row->kind = flags & 3;
    if (row->kind != SAVED_OBJECT && flags & ~(uint64_t)(3 | ROW_CHECKED))
        return -EUCLEAN;
    if (!get_text(r, row->comp, SAVED_COMP_MAX) || strchr(row->comp, '/'))
        return -EUCLEAN;
    if (flags & ROW_CHECKED && (!get_s(r, &row->checked_ns) || row->checked_ns <= 0))
        return -EUCLEAN;
    bool ok = row->kind == SAVED_OBJECT   ? next_object(r, flags, row)
              : row->kind == SAVED_BUCKET ? next_bucket(r, row)
                                          : true;
    return ok ? 1 : -EUCLEAN;
}

/* ---- heads ----------------------------------------------------------------------------------- */

int
saved_head_format(const struct saved_head *h, const char *bucket, const char *prefix,
                  struct sf_buf *out)
{
    const char start[2] = {HEAD, FORMAT};
    size_t before = out->len;
    unsigned flags = (h->listing ? HEAD_LISTING : 0u) | (h->complete ? HEAD_COMPLETE : 0u) |
                     (h->attrs_known ? HEAD_ATTRS : 0u) | (h->placeholder ? HEAD_PLACEHOLDER : 0u);
    int rc = sf_buf_append(out, start, sizeof start);
    const uint64_t numbers[] = {flags, h->seq, h->rows, h->bytes, h->uid, h->gid};
    const int64_t times[] = {h->checked_ns, h->attrs_ns, h->taken_ns};
    for (size_t i = 0; !rc && i < sizeof numbers / sizeof *numbers; i++)
        rc = put_u(out, numbers[i]);
    for (size_t i = 0; !rc && i < sizeof times / sizeof *times; i++)
        rc = put_s(out, times[i]);
    if (!rc)
        rc = put_text(out, h->boot, strlen(h->boot));
    if (!rc)
        rc = put_text(out, bucket, strlen(bucket));
    if (!rc)
        rc = put_text(out, prefix, strlen(prefix));
    if (!rc)
        rc = put_attrs(out, &h->attrs);
    if (!rc)
        rc = put_u(out, h->pages);
    for (uint32_t i = 0; !rc && i < h->pages; i++)
        rc = put_fixed(out, h->sums[i]);
    if (!rc)
        rc = put_fixed(out, sf_hash64(out->data + before, out->len - before));
    return rc;
}

/* A text that has to be this one. 1, 0 = another, -EUCLEAN. */
static int
is_text(struct saved_reader *r, const char *want)
{
    uint64_t len;
    const uint8_t *p;
    if (!get_u(r, &len) || len > TEXT_MAX || !get_bytes(r, len, &p))
        return -EUCLEAN;
    return !want || (strlen(want) == len && memcmp(want, p, len) == 0);
}

static int
head_sums(struct saved_reader *r, struct saved_head *h, uint64_t **sums)
{
    uint64_t pages;
    if (!get_u(r, &pages) || pages > SAVED_PAGES_MAX || (size_t)(r->end - r->p) != pages * SUM_LEN)
        return -EUCLEAN;
    uint64_t *s = malloc(pages * sizeof *s + 1);
    if (!s)
        return -ENOMEM;
    h->pages = (uint32_t)pages;
    for (uint32_t i = 0; i < h->pages; i++)
        (void)get_fixed(r, &s[i]);
    h->sums = *sums = s;
    return 0;
}

int
saved_head_parse(const void *data, size_t len, const char *bucket, const char *prefix,
                 struct saved_head *h, uint64_t **sums)
{
    struct saved_reader r;
    uint64_t flags, uid, gid, sum;
    int rc = open_value(data, len, HEAD, &r, &sum), same;
    if (rc)
        return rc;
    *h = (struct saved_head){.seq = 0};
    if (!get_u(&r, &flags) || flags > HEAD_ALL || !get_u(&r, &h->seq) || !get_u(&r, &h->rows) ||
        !get_u(&r, &h->bytes) || !get_u(&r, &uid) || !get_u(&r, &gid) || uid > UINT32_MAX ||
        gid > UINT32_MAX || !get_s(&r, &h->checked_ns) || !get_s(&r, &h->attrs_ns) ||
        !get_s(&r, &h->taken_ns) || !get_text(&r, h->boot, BOOT_LEN))
        return -EUCLEAN;
    h->listing = flags & HEAD_LISTING;
    h->complete = flags & HEAD_COMPLETE;
    h->attrs_known = flags & HEAD_ATTRS;
    h->placeholder = flags & HEAD_PLACEHOLDER;
    h->uid = (uint32_t)uid;
    h->gid = (uint32_t)gid;
    if ((same = is_text(&r, bucket)) < 0 || (rc = is_text(&r, prefix)) < 0)
        return -EUCLEAN;
    if (!same || !rc)
        return -ENOENT;
    if (!get_attrs(&r, &h->attrs) || (!h->listing && h->complete))
        return -EUCLEAN;
    return head_sums(&r, h, sums);
}
