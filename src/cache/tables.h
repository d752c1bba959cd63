/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef SF_CACHE_TABLES_H
#define SF_CACHE_TABLES_H

/*
 * The tables of the one LMDB environment that may be thrown away: sf_disk_env() opens all of them.
 * A line here is a table; the rows are described in docs/formats/cache.md.
 */
#define SF_TABLES(T)                                                                               \
    T(META, "meta")                                                                                \
    T(NAMES, "names")                                                                              \
    T(CONTENTS, "contents")                                                                        \
    T(CHUNKS, "chunks")                                                                            \
    T(UNITS, "units")                                                                              \
    T(QUEUE, "queue")                                                                              \
    T(FOLLOWED, "followed")

enum sf_table {
#define SF_TABLE_ID(id, name) SF_TABLE_##id,
    SF_TABLES(SF_TABLE_ID)
#undef SF_TABLE_ID
        SF_TABLE_MAX
};

#endif
