// One call with @aws-sdk/client-lambda: node caller.mjs PACKAGES URL, the question on stdin as JSON
// (Ask of callers.py), what the client shows on stdout (Seen).
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";

const [packages, endpoint] = process.argv.slice(2);
const { LambdaClient, InvokeCommand } = createRequire(join(packages, "package.json"))(
  "@aws-sdk/client-lambda",
);

const ask = JSON.parse(readFileSync(0, "utf8"));
const client = new LambdaClient({ endpoint, maxAttempts: ask.attempts });
const command = new InvokeCommand({
  FunctionName: ask.name,
  Payload: Buffer.from(ask.payload),
  InvocationType: ask.kind ?? undefined,
  LogType: ask.log ?? undefined,
  ClientContext: ask.context ?? undefined,
  Qualifier: ask.qualifier ?? undefined,
});

function seen(metadata, more) {
  return { status: metadata.httpStatusCode, request_id: metadata.requestId, ...more };
}

let shown;
try {
  const said = await client.send(command);
  shown = seen(said.$metadata, {
    payload: Buffer.from(said.Payload ?? []).toString(),
    function_error: said.FunctionError,
    version: said.ExecutedVersion,
    log: said.LogResult,
  });
} catch (error) {
  if (error.$metadata?.httpStatusCode === undefined) throw error;
  shown = seen(error.$metadata, { error: error.name, message: error.message });
}
process.stdout.write(JSON.stringify(shown));
client.destroy();
