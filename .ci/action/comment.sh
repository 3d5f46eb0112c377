#!/usr/bin/env bash
# Writes the run's comment on a pull request, in the place of the one that an earlier run of the suite wrote.
# In: BODY (a file), REPOSITORY (owner/name), PULL (number), GH_TOKEN.
set -euo pipefail
mark=$(head -n 1 "$BODY")
id=$(gh api --paginate "repos/$REPOSITORY/issues/$PULL/comments" --jq ".[] | select(.body | startswith(\"$mark\")) | .id" | head -n 1)
if [ -n "$id" ]; then
  gh api --method PATCH "repos/$REPOSITORY/issues/comments/$id" --field "body=@$BODY" >/dev/null
else
  gh api --method POST "repos/$REPOSITORY/issues/$PULL/comments" --field "body=@$BODY" >/dev/null
fi
