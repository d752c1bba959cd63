#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
# What a mount tells of its AI providers, and what the emulated ones of the dev server saw of it.
# Source common.sh and server.sh first.

# at_provider SITE EXPRESSION: of all that the admin port tells of a site, as `s`.
at_provider() {
    admin GET /providers | python3 -c 'import json, sys
s = json.load(sys.stdin)[sys.argv[1]]
v = eval(sys.argv[2])
print(v if isinstance(v, str) else json.dumps(v))' "$1" "$2"
}

# What is asked for often, without a program that takes longer than the question:

# asked SITE: requests of all kinds so far.
asked() {
    admin GET /providers | awk -v site="  \"$1\": {" '$0 == site { on = 1 }
        on && /^    "requests": / { print $2 + 0; on = 0 }'
}

# uploads SITE [FILE]: how many files it took so far, or how often this content.
uploads() {
    local sha=''
    if [ $# = 2 ]; then sha=$(sha256sum <"$2" | cut -d' ' -f1); fi
    admin GET /providers | awk -v site="  \"$1\": {" -v sha="\"$sha" '/^  "/ { on = $0 == site }
        on && $1 == "\"sha256\":" { this = index($2, sha) == 1 }
        on && $1 == "\"count\":" && this { n += $2 } END { print n + 0 }'
}

# of_provider NAME WHAT FILE: the attribute user.supafs.NAME.WHAT.
of_provider() { getfattr --only-values -n "user.supafs.$1.$2" "$3" 2>/dev/null; }

# file_id NAME FILE: its id, which is got if there is none.
file_id() { of_provider "$1" file_id "$2"; }

# shown FILE: names of the attributes that are listed, in one line.
shown() { getfattr "$1" 2>/dev/null | sed -n 's/^user/user/p' | xargs; }

# provider_of NAME SITE [SUFFIX]: another provider for mounts to come, NAME, with the address and the
# key of a site of the dev server's; SUFFIX is +ACCOUNT or @SCENARIO, behind its key.
provider_of() {
    local name=${1^^} site=$2 shown
    name=${name//-/_}
    shown=$(admin GET /providers | json_get "d['$site']['base'] + ' ' + d['$site']['key']") ||
        fail "no provider $site"
    export "SUPAFS_PROVIDER_${name}_BASE_URL=${SUPABASE_URL}${shown% *}"
    export "SUPAFS_PROVIDER_${name}_KEY=${shown#* }${3:-}"
    case $site in
    zai) site=glm ;;
    kimi-cn) site=kimi ;;
    esac
    export "SUPAFS_PROVIDER_${name}_TYPE=$site"
}
