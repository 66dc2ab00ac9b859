// kafkajs's share of the agreement: it produces COUNT messages, one by one and in batches, and reads them in a group.
// node kafka_node.mjs BROKER TOPIC COUNT, where node_modules has `kafkajs`.
import { createRequire } from "node:module";
const require = createRequire(process.env.NODE_MODULES + "/");
const { Kafka, CompressionTypes, logLevel } = require("kafkajs");

const [broker, topic, words] = process.argv.slice(2);
const count = Number(words);
const kafka = new Kafka({ clientId: "kafkajs", brokers: [broker], logLevel: logLevel.NOTHING });
const admin = kafka.admin();
await admin.connect();
await admin.fetchTopicOffsets(topic);
await admin.describeCluster();

const producer = kafka.producer({ idempotent: true });
await producer.connect();
for (let number = 0; number < count; number++) {
  const messages = Array.from({ length: number % 5 ? 1 : 9 }, () => ({ value: "v".repeat(100), headers: { number: String(number) } }));
  await producer.send({ topic, messages, compression: number % 7 ? CompressionTypes.None : CompressionTypes.GZIP });
}
await producer.disconnect();

const consumer = kafka.consumer({ groupId: "kafkajs", maxWaitTimeInMs: 100 });
await consumer.connect();
await consumer.subscribe({ topic, fromBeginning: true });
let read = 0;
await new Promise((done) => consumer.run({ eachMessage: async () => { if (++read === count) done(); } }));
await consumer.disconnect();
await admin.disconnect();
