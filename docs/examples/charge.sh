#!/bin/sh
# Charge a customer through ferryman, and wait for the outcome. A POSIX shell and curl.
#
#   FERRYMAN_URL=http://127.0.0.1:8080 FERRYMAN_API_TOKEN=… \
#     sh charge.sh ORDER CUSTOMER AMOUNT CURRENCY PAYMENT_METHOD
#
# The order's number is the key: run it as often as you like, the customer pays once.
# Exit status: 0 paid, 1 not paid, 2 bad input, 3 not known yet.

url=${FERRYMAN_URL:-http://127.0.0.1:8080}
until=$(($(date +%s) + ${PATIENCE_SECONDS:-300}))

finish() {
    echo "$2"
    exit "$1"
}

# field NAME TEXT: the first value of that name in a text of JSON.
field() {
    rest=${2#*"\"$1\":"}
    case $rest in
    "$2") ;;
    \"*) rest=${rest#\"} && echo "${rest%%\"*}" ;;
    *) echo "${rest%%[,\}]*}" ;;
    esac
}

# call CURL-ARGUMENTS: the answer in $answer. A request that may be sent again after any error: it
# has a key, or only reads. The token goes in by standard input: arguments are seen by everybody.
call() {
    while [ "$(date +%s)" -lt "$until" ]; do
        answer=$(echo "header = \"Authorization: Bearer ${FERRYMAN_API_TOKEN:-none}\"" |
            curl --silent --max-time 60 --write-out '%{http_code}' --config - "$@")
        status=${answer#"${answer%???}"}
        answer=${answer%???}
        case $status in
        2??) return ;;
        000 | 429 | 502 | 503 | 504) ;;
        *)
            [ "$(field type "$answer")" = /problems/key-in-flight ] ||
                finish 2 "refused: $(field detail "$answer")"
            ;;
        esac
        sleep 1
    done
    finish 3 "ferryman did not answer in time; run this again with the same order"
}

[ $# -eq 5 ] || finish 2 "usage: charge.sh ORDER CUSTOMER AMOUNT CURRENCY PAYMENT_METHOD"
case "$*" in
*[\"\\]*) finish 2 "quotes and backslashes are more than this small script can write as JSON" ;;
esac
args="{\"customer\": \"$2\", \"amount\": $3, \"currency\": \"$4\", \"payment_method\": \"$5\"}"

call "$url/v1/jobs" --header 'Content-Type: application/json' \
    --data-binary "{\"kind\": \"charge\", \"key\": \"$1\", \"args\": $args}"
id=$(field id "$answer")

asked=action
while left=$((until - $(date +%s))) && [ $left -gt 0 ]; do
    case $(field status "$answer") in
    waiting | running) ;;
    *) break ;;
    esac
    call "$url/v1/jobs/$id?wait=$((left < 20 ? left : 20))&until=$asked"
    page=$(field action_url "$answer")
    if [ "${page:-null}" != null ] && [ $asked = action ]; then
        echo "the payer has to agree: $page"
        asked=end
    fi
done

result=${answer#*'"result":'}
case $(field status "$answer") in
succeeded)
    paid="$(field amount "$result") $(field currency "$result")"
    finish 0 "$(field status "$result"): $paid, charge $id"
    ;;
failed) finish 1 "failed: $(field code "$answer"): $(field message "$answer")" ;;
cancelled) finish 1 "cancelled: nothing was taken" ;;
*) finish 3 "$(field status "$answer"): not settled yet; look at job $id later" ;;
esac
