#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
# The completions that were built for bash, zsh and fish: every verb and option that --help tells,
# and every mount option, is offered, and no secret; those of zsh and fish where they are installed.
set -u
. "$(dirname "$0")/../lib/common.sh"
. "$(dirname "$0")/../lib/mount.sh"

need_supafs
need perl
made=$SF_BUILD/contrib/completion
[ -e "$made/supafs" ] || skip "requires $made/supafs (make)"
table=$SF_SRC/src/config/options.def

# shellcheck disable=SC1091 # it is built
. "$made/supafs"
# offered LINE: what bash would offer at its end, one per line; "=" has been cut off as bash wants it.
# shellcheck disable=SC2034 # read by the function
offered() {
    local COMP_LINE=$1 COMP_POINT=${#1} COMPREPLY
    _supafs
    printf '%s\n' "${COMPREPLY[@]-}"
}

# offers LINE WORD...: exactly these.
offers() {
    local line=$1
    shift
    expect_eq "what bash offers for '$line'" "$(printf '%s\n' "$@" | sort)" "$(offered "$line" | sort)"
}

step "every verb"
mapfile -t verbs < <("$SUPAFS" --help | sed -n 's/^  \([a-z]*\) .*/\1/p')
expect_ge "verbs" 8 "${#verbs[@]}"
offers "supafs " "${verbs[@]}" --help --version --exit-codes

step "every option of each"
for verb in "${verbs[@]}"; do
    help=$("$SUPAFS" "$verb" --help)
    mapfile -t long < <(sed -nE 's/^ +(-.,)? +(--[a-z0-9-]+=?)[^a-z0-9].*|^ +(-.,)? +(--[a-z0-9-]+)$/\2\4/p' <<<"$help")
    mapfile -t short < <(sed -nE 's/^ +(-[a-zA-Z0-9])[, ].*/\1/p' <<<"$help")
    expect_ge "options of $verb" 3 "${#long[@]}"
    offers "supafs $verb -" "${long[@]}" "${short[@]}"
    for option in "${long[@]%=}"; do
        grep -qE -- "'(\([^']*\))?${option}[=[]" "$made/_supafs" || fail "zsh: $verb $option"
        grep -qE "__fish_seen_subcommand_from $verb'.* -l ${option#--} " "$made/supafs.fish" ||
            fail "fish: $verb $option"
        sf_checks=$((sf_checks + 1))
    done
done

step "every mount option, but no secret"
mapfile -t names < <(sed -nE 's/^SF_OPTION\([A-Z0-9_]+, *"([^"]+)".*/\1/p' "$table")
expect_eq "options of the table" "$(grep -c '^SF_OPTION(' "$table")" "${#names[@]}"
for name in "${names[@]}"; do
    found=$(offered "supafs mount -o ro,$name" | grep -cxE "ro,$name=?")
    told=$(grep -cE "^ +'${name}\[" "$made/_supafs") fish=$(grep -c " $name=\?[^ ]* '" "$made/supafs.fish")
    case $name in
    service_key | user_token | anon_key | db_url | access_token) expect_eq "$name" "0 0 0" "$found $told $fish" ;;
    *)
        expect_eq "bash and zsh: $name" "1 1" "$found $told"
        expect_ge "fish: $name" 1 "$fish"
        ;;
    esac
done

step "words, values, lists and files"
offers "supafs queue r" retry
offers "supafs queue " ls show retry drop
offers "supafs cache pi" pin
offers "supafs provider " adopt check files ls prune rm upload why
offers "supafs mount -o sync=" close writeback
offers "supafs mount -o ro,sync=w" writeback
offers "supafs mount -osy" -osync=
offers "supafs bench --rows=list,thr" list,through
mkdir -p "$SF_TMP/dir/below" && : >"$SF_TMP/dir/file"
offers "supafs mount -e $SF_TMP/dir/f" "$SF_TMP/dir/file"
offers "supafs mount --env-file=$SF_TMP/dir/f" "$SF_TMP/dir/file"
offers "supafs mount https://x.supabase.co $SF_TMP/dir/" "$SF_TMP/dir/below"
offers "supafs queue ls --state-dir $SF_TMP/dir/" "$SF_TMP/dir/below"
offers "supafs flush $SF_TMP/dir/fi" "$SF_TMP/dir/file"
offers "supafs find --same-as=$SF_TMP/dir/f" "$SF_TMP/dir/file"
offers "supafs chat $SF_TMP/dir/f" "$SF_TMP/dir/file"
offers "supafs chat --thinking=o" off on
offers "supafs chat --thinking m" medium
# What the completion calls; others may have mounts.
# shellcheck disable=SC2317
supafs() { "$SUPAFS" "$@" --own; }
export MOONSHOT_API_KEY=sk-none XDG_CONFIG_HOME=$SF_TMP/etc
offers "supafs chat --provider ki" kimi
offers "supafs chat -p a" auto
offers "supafs find --tag t $SF_TMP/dir/fi" "$SF_TMP/dir/file"

step "the shells can read them"
expect_ok "bash" bash -n "$made/supafs"
if command -v zsh >/dev/null; then expect_ok "zsh" zsh -n "$made/_supafs"; fi
if command -v fish >/dev/null; then
    expect_ok "fish" fish -n "$made/supafs.fish"
    for line in 'supafs queue:queue' 'supafs queue re:retry' 'supafs mount -o ro,sync=w:ro,sync=writeback'; do
        expect_match "fish: ${line%:*}" "^${line##*:}" \
            "$(fish -c "source '$made/supafs.fish'; complete -C '${line%:*}'")"
    done
fi
passed
