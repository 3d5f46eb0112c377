#!/usr/bin/env bash
# Writes the run's comment on a pull request, in the place of the one that an earlier run of the same name and suite wrote.
# In: BODY (a file that begins with the suite's mark), NAME (of this use of the action), REPOSITORY (owner/name),
# PULL (number), GH_TOKEN, RUNNER_TEMP.
set -euo pipefail
# One suite may run in several jobs of a matrix: each has its own comment.
mark="$(head -n 1 "$BODY" | sed 's/ -->$//') $(printf %s "$NAME" | cksum | cut -d ' ' -f 1) -->"
marked="$RUNNER_TEMP/telltale-comment.md"
{ printf '%s\n' "$mark"; tail -n +2 "$BODY"; } >"$marked"

write() {
  local ids
  ids=$(gh api --paginate "repos/$REPOSITORY/issues/$PULL/comments" --jq ".[] | select(.body | startswith(\"$mark\")) | .id") || return
  if [ -n "$ids" ]; then
    gh api --method PATCH "repos/$REPOSITORY/issues/comments/${ids%%$'\n'*}" --field "body=@$marked" >/dev/null
  else
    gh api --method POST "repos/$REPOSITORY/issues/$PULL/comments" --field "body=@$marked" >/dev/null
  fi
}
write || echo '::warning title=telltale::the comment could not be written; it needs gh and the permission "pull-requests: write", which a pull request from a fork does not get'
