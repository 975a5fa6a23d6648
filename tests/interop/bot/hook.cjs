// A bridge of webhooks as matrix-hookshot has it, on the SDK that it stands on: `!hookshot webhook NAME` connects a room,
// `POST /webhook/NAME` says something in it as a user of its own. Connections are kept in the rooms' states.
"use strict";

const Module = require("node:module");
const http = require("node:http");

// The SDK asks for its encryption when it is loaded, and that comes as a binary from elsewhere than the registry.
const load = Module._load;
const nothing = new Proxy({}, { get: (_, name) => (name === "__esModule" ? undefined : class {}) });
Module._load = function (name, ...more) {
  return name === "@matrix-org/matrix-sdk-crypto-nodejs" ? nothing : load.call(this, name, ...more);
};
const { Appservice, LogLevel, LogService, MemoryStorageProvider, SimpleRetryJoinStrategy } = require(
  "@vector-im/matrix-bot-sdk",
);

const HOOK = "uk.half-shot.matrix-hookshot.generic.hook";
const { homeserver, serverName, registration, hooks } = JSON.parse(process.argv[2]);
const rooms = new Map();

LogService.setLevel(LogLevel.WARN);
const service = new Appservice({
  homeserverName: serverName,
  homeserverUrl: homeserver,
  bindAddress: "127.0.0.1",
  port: Number(new URL(registration.url).port),
  registration,
  storage: new MemoryStorageProvider(),
  joinStrategy: new SimpleRetryJoinStrategy(),
  intentOptions: { encryption: false },
});

function say(word, ...more) {
  process.stdout.write(JSON.stringify([word, ...more]) + "\n");
}

service.on("room.invite", async (room, event) => {
  if (event.state_key === service.botUserId) await service.botClient.joinRoom(room);
});
service.on("ephemeral.event", (event) => say("ephemeral", event.type));
service.on("room.message", async (room, event) => {
  const [command, kind, name] = event.content.body.split(" ");
  if (command !== "!hookshot" || kind !== "webhook") return;
  await service.botClient.sendStateEvent(room, HOOK, name, { name });
  rooms.set(name, room);
  await service.botClient.replyText(room, event, `connected ${name}`);
});

async function hook(name, text) {
  const room = rooms.get(name);
  const intent = service.getIntentForUserId(`@_db_webhook_${name}:${serverName}`);
  await intent.ensureRegistered();
  await intent.underlyingClient.setDisplayName(`${name} (webhook)`);
  await service.botClient.inviteUser(intent.userId, room).catch(() => {}); // it is in the room
  await intent.joinRoom(room);
  return intent.sendEvent(room, { msgtype: "m.notice", body: text });
}

http
  .createServer((request, response) => {
    const name = request.url.split("/").at(-1);
    let body = "";
    request.on("data", (data) => (body += data));
    request.on("end", async () => {
      if (!rooms.has(name)) {
        response.statusCode = 404;
      } else {
        await hook(name, JSON.parse(body).text);
      }
      response.end();
    });
  })
  .listen(hooks, "127.0.0.1");

(async () => {
  await service.begin();
  await service.botIntent.ensureRegistered();
  for (const room of await service.botClient.getJoinedRooms()) {
    for (const event of await service.botClient.getRoomState(room)) {
      if (event.type === HOOK) rooms.set(event.state_key, room);
    }
  }
  say("ready", await service.botClient.getUserId());
})();
