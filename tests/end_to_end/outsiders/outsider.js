// A subscriber as a stranger writes it in another language: mqtt, ajv and the AsyncAPI document.
// usage: node -e THIS -- DOCUMENT.json PORT SITE. A line on standard input tells it to finish: it does
// once the unit's own word (`health`) says that it has everything. It prints what it knows as JSON.
const fs = require('fs');
const mqtt = require('mqtt');
const Ajv = require('ajv');

const [file, port, site] = process.argv.slice(-3);
const document_ = JSON.parse(fs.readFileSync(file, 'utf8'));
const ajv = new Ajv({strict: false, validateFormats: false, allErrors: true});
const last = (ref) => ref.split('/').pop();

const channels = Object.entries(document_.channels).map(([name, channel]) => {
  const message = document_.components.messages[last(Object.values(channel.messages)[0].$ref)];
  return {
    name,
    address: channel.address.replace('{site}', site).split('/'),
    validate: ajv.compile({...message.payload, components: document_.components}),
  };
});
const qos = Object.fromEntries(Object.values(document_.operations).map(
  (operation) => [last(operation.channel.$ref), operation.bindings.mqtt.qos]));

const rows = new Map();
const faults = [];
let doubles = 0, asked = 0, changedAt = 0, askedAt = 0, word = null, finishing = 0;

const client = mqtt.connect({
  host: '127.0.0.1', port: Number(port), protocol: 'mqtt', protocolVersion: 5, clean: false,
  clientId: 'node-outsider', reconnectPeriod: 100, connectTimeout: 5000, resubscribe: false,
  properties: {sessionExpiryInterval: 3600},
});
client.on('error', () => {});
client.on('connect', () => client.subscribe(`mammoedge/v1/${site}/#`, {qos: 1}, (error) => {
  if (!error) console.log('listening');
}));

client.on('message', (topic, payload, packet) => {
  const parts = topic.split('/');
  const channel = channels.find(({address}) => address.length === parts.length
    && address.every((part, i) => part.startsWith('{') || part === parts[i]));
  if (!channel) { faults.push(`no channel for ${topic}`); return; }
  if (payload.length === 0) return; // a flag that expired
  const body = JSON.parse(payload.toString());
  if (!channel.validate(body)) {
    faults.push(`${channel.name}: ${ajv.errorsText(channel.validate.errors)}`);
  }
  if (packet.qos !== Math.min(1, qos[channel.name])) faults.push(`${channel.name}: QoS ${packet.qos}`);
  if ('seq' in body) {
    const known = rows.get(body.seq);
    if (known) {
      doubles += 1;
      if (JSON.stringify(known[2]) !== JSON.stringify(body)) faults.push(`two rows under ${body.seq}`);
    } else {
      rows.set(body.seq, [body.seq, topic, body]);
      changedAt = Date.now();
    }
  } else if ('last_seq' in body && body.state !== 'offline' && !packet.retain) {
    word = {at: Date.now(), body};
  }
});

process.stdin.once('data', () => { finishing = Date.now(); });

const looking = setInterval(() => {
  const end = Math.max(0, word ? word.body.last_seq : 0, ...rows.keys());
  let missing = 0;
  for (let n = 1; n <= end && !missing; n += 1) if (!rows.has(n)) missing = n;
  const waits = word && word.body.outbox ? word.body.outbox.waiting : 0;
  const now = Date.now();
  if (missing && !waits && client.connected && now > Math.max(changedAt + 1000, askedAt + 4000)) {
    const unit = rows.size ? rows.values().next().value[2].unit : 'mammo-1';
    client.publish(`mammoedge/v1/${site}/${unit}/command/replay`, JSON.stringify({from_seq: missing}), {qos: 1});
    askedAt = now;
    asked += 1;
  }
  if (finishing && word && word.at > finishing && !missing && !waits) {
    const flags = {};
    for (const [, , row] of rows.values()) {
      if (row.schema !== 'mammoedge.exam/1') continue;
      if (!flags[row.exam_key] || row.revision > flags[row.exam_key][0]) {
        flags[row.exam_key] = [row.revision, row.flag];
      }
    }
    const sorted = [...rows.values()].sort((a, b) => a[0] - b[0]);
    clearInterval(looking);
    const told = JSON.stringify({rows: sorted, flags, faults, doubles, asked});
    process.stdout.write(`${told}\n`, () => process.exit(0));
  }
}, 50);
