/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "config/options.h"

#include "config/provider.h"
#include "config/value.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

/* Prints the option table as a part of the manual page, in pod; with the argument "providers" the
 * table of their settings. Runs while supafs is built. */

static const struct row {
    const char *heading; /* NULL = an option */
    enum sf_opt opt;
} rows[] = {
#define SF_OPTION_GROUP(text) {.heading = (text)},
#define SF_OPTION(id, ...)    {.opt = SF_OPT_##id},
#include "config/options.def"
#undef SF_OPTION
};

static const char *const placeholders[] = {
    [SF_OPT_TYPE_BOOL] = NULL,       [SF_OPT_TYPE_INT] = "NUMBER", [SF_OPT_TYPE_SIZE] = "SIZE",
    [SF_OPT_TYPE_DURATION] = "TIME", [SF_OPT_TYPE_OCTAL] = "MODE", [SF_OPT_TYPE_STRING] = "TEXT",
    [SF_OPT_TYPE_PATH] = "PATH",
};

static void
print_escaped(const char *s)
{
    for (; *s; s++) {
        if (*s == '<')
            fputs("E<lt>", stdout);
        else if (*s == '>')
            fputs("E<gt>", stdout);
        else
            putchar(*s);
    }
}

/* "SUPABASE_URL" or "A, B" as bold words. */
static void
print_aliases(const char *aliases)
{
    fputs(" Further names in the environment: ", stdout);
    for (const char *p = aliases; *p;) {
        int n = (int)strcspn(p, " ");
        printf("%sB<%.*s>", p == aliases ? "" : ", ", n, p);
        p += n + (p[n] == ' ');
    }
    putchar('.');
}

static void
print_option(const struct sf_opt_info *info, bool mount_option)
{
    char allowed[128];

    printf("=item B<%s>", info->name);
    if (info->values) {
        printf("=B<%s>", info->values);
    } else if (placeholders[info->type]) {
        printf("=I<%s>", placeholders[info->type]);
    }
    fputs("\n\n", stdout);
    print_escaped(info->help);
    if (info->max > 0) {
        sf_value_allowed_as(info, allowed, sizeof allowed);
        printf(" %c%s.", toupper((unsigned char)allowed[0]), allowed + 1);
    }
    if (info->shown || info->def)
        printf(" Default: %s.", info->shown ? info->shown : info->def);
    if (info->aliases)
        print_aliases(info->aliases);
    if (mount_option && (info->flags & SF_OPT_F_SECRET))
        fputs(" Not in B<-o>.", stdout);
    if (info->flags & SF_OPT_F_NOT_FILE)
        fputs(" Not in configuration files.", stdout);
    fputs("\n\n", stdout);
}

static void
print_options(void)
{
    bool in_list = false;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        if (!rows[i].heading) {
            print_option(sf_opt_info(rows[i].opt), true);
            continue;
        }
        if (in_list)
            puts("=back\n");
        printf("=head2 %s\n\n=over 4\n\n", rows[i].heading);
        in_list = true;
    }
    if (in_list)
        puts("=back\n");
}

static void
print_provider_settings(void)
{
    puts("=over 4\n");
    for (int i = 0; i < SF_PS_COUNT; i++)
        print_option(sf_provider_setting_info((enum sf_provider_setting)i), false);
    puts("=back\n");
}

int
main(int argc, char **argv)
{
    if (argc > 1 && !strcmp(argv[1], "providers"))
        print_provider_settings();
    else
        print_options();
    return fflush(stdout) || ferror(stdout) ? 1 : 0;
}
