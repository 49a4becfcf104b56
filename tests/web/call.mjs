// node call.mjs MODULE FUNCTION: calls it with each list of arguments on stdin (JSON), prints results;
// the text "-Infinity" stands for that number
const [module, name] = process.argv.slice(2);
const { [name]: call } = await import(new URL(`../../web/${module}`, import.meta.url));
let text = "";
for await (const chunk of process.stdin) text += chunk;
const plain = (_, value) =>
  ArrayBuffer.isView(value) ? Array.from(value) : value instanceof Map ? [...value] : value;
process.stdout.write(JSON.stringify(JSON.parse(text, (_, value) => (value === "-Infinity" ? -Infinity : value)).map((values) => call(...values)), plain));
