// kafkajs: admin and producer; what was produced is read back through the admin's offsets (its consumer needs groups).
const path = require("path");
const { Kafka, logLevel, CompressionTypes } = require(path.join(process.env.GLASSHOUSE_NODE, "kafkajs"));
const assert = require("assert");

async function main() {
  const brokers = process.env.GLASSHOUSE_KAFKA.split(",");
  const kafka = new Kafka({ clientId: "interop", brokers, logLevel: logLevel.ERROR });
  const admin = kafka.admin();
  await admin.connect();
  const topic = `kafkajs-${Date.now()}`;
  assert.strictEqual(await admin.createTopics({ topics: [{ topic, numPartitions: 3, replicationFactor: 3 }] }), true);
  assert.strictEqual(await admin.createTopics({ topics: [{ topic, numPartitions: 3 }] }), false, "it exists");
  assert.ok((await admin.listTopics()).includes(topic));
  const cluster = await admin.describeCluster();
  assert.strictEqual(cluster.brokers.length, 3);

  for (const [name, options, send] of [
    ["plain", {}, { acks: -1 }],
    ["gzip", {}, { acks: -1, compression: CompressionTypes.GZIP }],
    ["idempotent", { idempotent: true, maxInFlightRequests: 1 }, {}],
  ]) {
    const producer = kafka.producer(options);
    await producer.connect();
    const messages = [...Array(100).keys()].map((n) => ({ key: `k${n % 7}`, value: `${name}-${n}`, headers: { h: "1" } }));
    const told = await producer.send({ topic, messages, ...send });
    assert.ok(told.every((one) => one.errorCode === 0), JSON.stringify(told));
    await producer.disconnect();
    console.log(`ok produce ${name}`);
  }
  const offsets = await admin.fetchTopicOffsets(topic);
  assert.strictEqual(offsets.reduce((sum, one) => sum + Number(one.high), 0), 300);
  await admin.deleteTopics({ topics: [topic] });
  await admin.disconnect();
  console.log("ok admin");
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});
