/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <string.h>

#include "supabase/change.h"
#include "supabase/storage.h"

#define MAX_AGE "max-age="

const char *
sf_cache_control_seconds(const char *cache_control)
{
    size_t head = strlen(MAX_AGE);
    if (!cache_control || strncmp(cache_control, MAX_AGE, head) != 0)
        return NULL;
    const char *digits = cache_control + head;
    size_t n = strspn(digits, "0123456789");
    return n > 0 && n < 16 && !digits[n] ? digits : NULL;
}

bool
sf_cache_control_is_plain(const char *cache_control)
{
    return !cache_control || !*cache_control || strcmp(cache_control, "no-cache") == 0 ||
           sf_cache_control_seconds(cache_control);
}
