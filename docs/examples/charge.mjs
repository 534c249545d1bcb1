// Charge a customer through ferryman, and wait for the outcome. Node 18 or later, no package.
//
//   FERRYMAN_URL=http://127.0.0.1:8080 FERRYMAN_API_TOKEN=… \
//     node charge.mjs ORDER CUSTOMER AMOUNT CURRENCY PAYMENT_METHOD
//
// The order's number is the key: run it as often as you like, the customer pays once.
// Exit status: 0 paid, 1 not paid, 2 bad input, 3 not known yet.

const base = process.env.FERRYMAN_URL ?? "http://127.0.0.1:8080";
const token = process.env.FERRYMAN_API_TOKEN;
const patienceSeconds = Number(process.env.PATIENCE_SECONDS ?? 300);
const until = Date.now() + patienceSeconds * 1000;

const sleep = (seconds) => new Promise((wake) => setTimeout(wake, seconds * 1000));

function finish(status, words) {
  console.log(words);
  process.exit(status);
}

/** A request that may be sent again after any error: it has a key, or only reads. */
async function call(method, path, body) {
  while (Date.now() < until) {
    const answer = await fetch(new URL(path, base), {
      method,
      headers: {
        ...(token && { Authorization: `Bearer ${token}` }),
        ...(body && { "Content-Type": "application/json" }),
      },
      body: body && JSON.stringify(body),
      signal: AbortSignal.timeout(60_000),
    }).catch(() => undefined);
    if (answer?.ok) return answer.json();
    const problem = await answer?.json().catch(() => ({}));
    const passing = !answer || [429, 502, 503, 504].includes(answer.status)
      || problem.type === "/problems/key-in-flight";
    if (!passing) finish(2, `refused: ${problem.detail ?? answer.status}`);
    await sleep(Number(answer?.headers.get("Retry-After") ?? 1));
  }
  finish(3, "ferryman did not answer in time; run this again with the same order");
}

const [order, customer, amount, currency, paymentMethod] = process.argv.slice(2);
if (!paymentMethod) finish(2, "usage: charge.mjs ORDER CUSTOMER AMOUNT CURRENCY PAYMENT_METHOD");

let job = await call("POST", "/v1/jobs", {
  kind: "charge",
  key: order,
  args: { customer, amount: Number(amount), currency, payment_method: paymentMethod },
});

let shown;
while (["waiting", "running"].includes(job.status) && Date.now() < until) {
  const page = job.result?.action_url;
  if (page && page !== shown) console.log(`the payer has to agree: ${(shown = page)}`);
  const wait = Math.max(0, Math.min(20, (until - Date.now()) / 1000));
  job = await call("GET", `/v1/jobs/${job.id}?wait=${wait}${page ? "" : "&until=action"}`);
}

switch (job.status) {
  case "succeeded":
    finish(0, `${job.result.status}: ${job.result.amount} ${job.result.currency}, charge ${job.id}`);
  case "failed":
    finish(1, `failed: ${job.error.code}: ${job.error.message}`);
  case "cancelled":
    finish(1, "cancelled: nothing was taken");
  default:
    finish(3, `${job.status}: ${job.reason ?? "not settled yet"}; look at job ${job.id} later`);
}
