/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "cmd/cmd.h"

error_t
settings_option(struct settings_line *l, int key, char *arg, const struct argp_state *state)
{
    switch (key) {
    case 'o':
        if (l->n_options == SETTINGS_MAX)
            argp_error(state, "more than %d times -o", SETTINGS_MAX);
        l->options[l->n_options++] = arg;
        return 0;
    case 'e':
        l->env_file = arg;
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}
