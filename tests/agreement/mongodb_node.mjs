// The Node driver's share of the agreement: some of everything, and a line of JSON for each command it sent.
// node mongodb_node.mjs URI ROUNDS COMPRESSOR, where node_modules has `mongodb` (and `snappy`).
import { createRequire } from "node:module";
const require = createRequire(process.env.NODE_MODULES + "/");
const { MongoClient } = require("mongodb");

const [uri, rounds, compressor] = process.argv.slice(2);
const started = new Map();
const count = (reply) => (reply?.cursor?.firstBatch ?? reply?.cursor?.nextBatch)?.length;
const tell = (event, failure, reply) => {
  const { command, databaseName } = started.get(event.requestId);
  const name = event.commandName;
  const own = name === "getMore" ? command.collection : command[name];
  const errors = reply?.writeErrors ?? [];
  console.log(JSON.stringify({
    request_id: event.requestId,
    command: name,
    database: databaseName,
    collection: typeof own === "string" ? own : "",
    error_code: failure?.code ?? errors[0]?.code ?? null,
    nreturned: count(reply) ?? null,
    n: typeof reply?.n === "number" ? reply.n : null,
    acknowledged: command.writeConcern?.w !== 0,
  }));
};

const client = new MongoClient(uri, {
  monitorCommands: true,
  appName: `node-${compressor}`,
  compressors: compressor === "none" ? [] : [compressor],
});
client.on("commandStarted", (event) => started.set(event.requestId, event));
client.on("commandSucceeded", (event) => tell(event, null, event.reply));
client.on("commandFailed", (event) => tell(event, event.failure, null));
await client.connect();
const database = client.db("l7top_agreement");
const orders = database.collection("node");
await orders.deleteMany({});
const fails = async (promise) => { try { await promise; } catch { /* asked for */ } };
for (let round = 0; round < Number(rounds); round++) {
  const base = round * 100;
  await orders.insertOne({ _id: base, text: "x".repeat(round % 700), at: new Date() });
  await orders.insertMany([...Array(20).keys()].map((n) => ({ _id: base + 1 + n, n, text: "y".repeat(30) })));
  if (round % 5 === 0) {
    await orders.insertMany([...Array(150).keys()].map((n) => ({ _id: base + 0.5 + n, text: "z".repeat(60) })));
  }
  await fails(orders.insertMany([{ _id: base }, { _id: base + 50 }, { _id: base + 1 }], { ordered: false }));
  await orders.find({ n: { $gte: 3 } }, { batchSize: 7, limit: 30, sort: { n: 1 } }).toArray();
  await orders.findOne({ _id: base });
  await orders.updateOne({ _id: base }, { $set: { state: "new" }, $inc: { n: 1.5 } });
  await orders.updateMany({ n: { $lt: 5 } }, { $unset: { state: 1 } });
  await orders.findOneAndUpdate({ _id: base }, { $set: { state: "old" } });
  await orders.aggregate([{ $match: { n: { $gt: 2 } } }, { $group: { _id: "$n", c: { $sum: 1 } } }]).toArray();
  await orders.countDocuments({ n: 3 });
  await orders.distinct("n");
  await fails(database.command({ frobnicate: 1 }));
  await fails(orders.find({ $bad: 1 }).toArray());
  await orders.deleteMany({ _id: { $gte: base } });
  const session = client.startSession();
  await session.withTransaction(async () => {
    await orders.insertOne({ _id: -1 - round }, { session });
    await orders.findOne({ _id: -1 - round }, { session });
  });
  await session.endSession();
}
await client.close();
