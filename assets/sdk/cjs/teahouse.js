// teahouse-sdk, MIT license. Made from teahouse.js by go test ./assets -run TestSDKBuilds -update
var __defProp = Object.defineProperty;
var __getOwnPropDesc = Object.getOwnPropertyDescriptor;
var __getOwnPropNames = Object.getOwnPropertyNames;
var __getOwnPropSymbols = Object.getOwnPropertySymbols;
var __hasOwnProp = Object.prototype.hasOwnProperty;
var __propIsEnum = Object.prototype.propertyIsEnumerable;
var __pow = Math.pow;
var __defNormalProp = (obj, key, value) => key in obj ? __defProp(obj, key, { enumerable: true, configurable: true, writable: true, value }) : obj[key] = value;
var __spreadValues = (a, b) => {
  for (var prop in b || (b = {}))
    if (__hasOwnProp.call(b, prop))
      __defNormalProp(a, prop, b[prop]);
  if (__getOwnPropSymbols)
    for (var prop of __getOwnPropSymbols(b)) {
      if (__propIsEnum.call(b, prop))
        __defNormalProp(a, prop, b[prop]);
    }
  return a;
};
var __export = (target, all) => {
  for (var name in all)
    __defProp(target, name, { get: all[name], enumerable: true });
};
var __copyProps = (to, from, except, desc) => {
  if (from && typeof from === "object" || typeof from === "function") {
    for (let key of __getOwnPropNames(from))
      if (!__hasOwnProp.call(to, key) && key !== except)
        __defProp(to, key, { get: () => from[key], enumerable: !(desc = __getOwnPropDesc(from, key)) || desc.enumerable });
  }
  return to;
};
var __toCommonJS = (mod) => __copyProps(__defProp({}, "__esModule", { value: true }), mod);

// sdk/teahouse.js
var teahouse_exports = {};
__export(teahouse_exports, {
  TeahouseError: () => TeahouseError,
  connect: () => connect
});
module.exports = __toCommonJS(teahouse_exports);
var BACKOFF = 500;
var BACKOFF_CAP = 3e4;
var STABLE = 1e4;
var OPENING = 15e3;
var ANSWER = 1e4;
var WAKE_ANSWER = 3e3;
var BODY_LIMIT = 16384;
var TeahouseError = class extends Error {
  constructor(code, message) {
    super(message || code);
    this.name = "TeahouseError";
    this.code = code;
  }
};
var Emitter = class {
  constructor() {
    this._handlers = /* @__PURE__ */ new Map();
  }
  /** Calls fn for each `name`; returns a function that ends it. */
  on(name, fn) {
    const list = this._handlers.get(name) || [];
    this._handlers.set(name, [...list, fn]);
    return () => this._handlers.set(name, this._handlers.get(name).filter((f) => f !== fn));
  }
  _emit(name, value) {
    for (const fn of this._handlers.get(name) || []) {
      try {
        fn(value);
      } catch (err) {
        (globalThis.reportError || console.error)(err);
      }
    }
  }
};
var OWN_NAMES = ["event", "signal", "online", "reset", "joined", "error"];
var Topic = class extends Emitter {
  constructor(client, topic, recent) {
    super();
    this.topic = topic;
    this._client = client;
    this._recent = recent;
    this._cursor = -1;
    this._joined = false;
    this._behind = false;
    this._own = /* @__PURE__ */ new Set();
  }
  /** Resolves when the server has it for good. Pass the `key` of a failed send to try that one again. */
  send(body, { kind = "message", key = randomKey() } = {}) {
    const size = byteLength(JSON.stringify(body === void 0 ? null : body));
    if (size > this._client._bodyLimit) return Promise.reject(new TeahouseError("too_large", `${size} bytes`));
    return this._client._call({ op: "send", topic: this.topic, key, kind, body });
  }
  /** Older events, oldest first, and whether there are `more` before them. */
  history({ before, limit = 50 } = {}) {
    return this._client._call({ op: "history", topic: this.topic, before, limit }).then((f) => ({ events: f.events || [], more: !!f.more }));
  }
  /** Who is here now. */
  presence() {
    return this._client._call({ op: "presence", topic: this.topic }).then((f) => f.users || []);
  }
  /** Tells those who are live, is never stored, and is dropped if there is no connection. */
  signal(body) {
    if (this._joined) this._client._write({ op: "signal", topic: this.topic, body });
  }
  leave() {
    const client = this._client;
    if (client._topics.get(this.topic) !== this) return;
    client._topics.delete(this.topic);
    this._joined = false;
    client._write({ op: "leave", id: client._nextId++, topic: this.topic });
    client._flush();
  }
  _deliver(event) {
    this._emit("event", event);
    if (!OWN_NAMES.includes(event.kind)) this._emit(event.kind, event);
  }
  _reset(after, reason) {
    this._cursor = after;
    this._own.clear();
    for (const call of this._client._calls.values()) if (call.frame.topic === this.topic) call.since = after;
    this._emit("reset", { reason });
  }
};
var Client = class extends Emitter {
  /** @param {Options} options */
  constructor(options) {
    super();
    this._options = options;
    this._url = socketURL(options.url);
    this._clock = options.clock || {
      setTimeout: (fn, ms) => setTimeout(fn, ms),
      clearTimeout: (id) => clearTimeout(id),
      now: () => Date.now(),
      random: () => Math.random()
    };
    this._storage = options.storage === void 0 ? localStore() : options.storage;
    this._token = options.token;
    this._renewed = false;
    this._topics = /* @__PURE__ */ new Map();
    this._calls = /* @__PURE__ */ new Map();
    this._nextId = 1;
    this._conn = null;
    this._tries = 0;
    this._bodyLimit = BODY_LIMIT;
    this._epoch = void 0;
    this.user = options.user;
    this.inbox = new Topic(this, "user:" + this.user, 0);
    this.state = { name: "connecting" };
    this._restore();
    this._unwake = (options.lifecycle || pageLifecycle)(() => this._wake());
    this._open();
  }
  room(name, options) {
    return this.topic("room:" + name, options);
  }
  /** Joins a topic, beginning with its `recent` newest events. The same topic gives the same object. */
  topic(topic, { recent = 50 } = {}) {
    let t = this._topics.get(topic);
    if (!t) {
      this._topics.set(topic, t = new Topic(this, topic, recent));
      if (this.state.name === "live") this._join(t);
    }
    return t;
  }
  /** Try now: cuts a wait short, and comes back after the server closed it for good. */
  retry() {
    if (this.state.name !== "closed") return this._wake();
    if (this._done) return;
    this._renewed = false;
    this._open();
  }
  /** Ends it. Sends that were not acked are rejected. */
  close() {
    this._done = true;
    this._unwake();
    if (this.state.name !== "closed") this._end({ name: "closed", reason: "closed by the app" });
  }
  // ---- the one socket ----
  _open() {
    this._drop();
    const conn = this._conn = { ws: null, started: this._clock.now(), seen: 0, live: 0, ping: 25e3, joins: /* @__PURE__ */ new Map() };
    conn.opening = this._clock.setTimeout(() => this._lost(conn, 0, "no answer"), OPENING);
    this._set({ name: "connecting" });
    const { getToken } = this._options;
    if (!getToken || this._token) return this._dial(conn);
    new Promise((resolve) => resolve(getToken(this._renewed))).then((token) => {
      this._token = token;
      this._dial(conn);
    }, (err) => this._lost(conn, 0, String(err && err.message || err)));
  }
  _dial(conn) {
    if (conn !== this._conn) return;
    const WS = this._options.WebSocket || globalThis.WebSocket;
    let ws;
    try {
      ws = conn.ws = new WS(this._url);
    } catch (err) {
      return this._lost(conn, 0, String(err.message || err));
    }
    ws.onopen = () => this._hello(conn);
    ws.onmessage = (m) => this._receive(conn, m.data);
    ws.onerror = () => {
    };
    ws.onclose = (e) => this._lost(conn, e.code, e.reason);
  }
  /** Lets go of the socket, whatever its state. */
  _drop() {
    const conn = this._conn;
    const { clearTimeout: clearTimeout2 } = this._clock;
    this._conn = null;
    clearTimeout2(this._waiting);
    if (!conn) return;
    for (const id of [conn.opening, conn.beat, conn.deadline]) clearTimeout2(id);
    for (const t of this._topics.values()) t._joined = false;
    for (const call of this._calls.values()) call.sent = false;
    const ws = conn.ws;
    if (!ws) return;
    ws.onopen = ws.onmessage = ws.onclose = null;
    try {
      ws.close();
    } catch (err) {
    }
  }
  _lost(conn, code, reason) {
    if (conn !== this._conn) return;
    const now = this._clock.now();
    const said = conn.error || {};
    this._drop();
    if (code >= 4100 && code <= 4199) {
      const error = said.code || CLOSED_FOR[code];
      if (!BAD_TOKEN.includes(error) || !this._options.getToken || this._renewed) {
        return this._end({ name: "closed", code, error, reason: reason || said.message || "" });
      }
      this._renewed = true;
      this._token = void 0;
      return this._open();
    }
    if (conn.live && now - conn.live >= STABLE) this._tries = 0;
    const most = Math.min(BACKOFF_CAP, BACKOFF * __pow(2, this._tries++));
    const delay = Math.round((said.retry_ms || 0) + this._clock.random() * most);
    this._waiting = this._clock.setTimeout(() => this._open(), delay);
    this._set({ name: "waiting", delay, at: now + delay, code, reason: reason || "" });
  }
  _end(state) {
    this._drop();
    const calls = [...this._calls.values()];
    this._calls.clear();
    this._set(state);
    for (const call of calls) call.reject(new TeahouseError("closed", state.reason));
  }
  /** The app, the page or the network came back: whether the socket still lives is to be known at once. */
  _wake() {
    const conn = this._conn;
    const now = this._clock.now();
    if (this.state.name === "closed") return;
    if (!conn) return this._open();
    if (!conn.live) return now - conn.started > WAKE_ANSWER ? this._open() : void 0;
    if (now - conn.seen > conn.ping + ANSWER) return this._open();
    this._ping(conn, WAKE_ANSWER);
  }
  _ping(conn, answer) {
    const { setTimeout: setTimeout2, clearTimeout: clearTimeout2, now } = this._clock;
    clearTimeout2(conn.beat);
    conn.beat = setTimeout2(() => this._ping(conn, ANSWER), conn.ping);
    const by = now() + answer;
    if (!conn.deadline || by < conn.by) {
      clearTimeout2(conn.deadline);
      conn.by = by;
      conn.deadline = setTimeout2(() => this._lost(conn, 0, "no answer"), answer);
    }
    this._write({ op: "ping" });
  }
  _set(state) {
    this.state = state;
    this._emit("state", state);
  }
  _write(frame) {
    const ws = this._conn && this._conn.ws;
    if (ws && ws.readyState === 1) ws.send(JSON.stringify(frame));
  }
  // ---- what is said ----
  _hello(conn) {
    const { device } = this._options;
    const position = this._epoch === void 0 ? void 0 : { epoch: this._epoch, seq: Math.max(0, this.inbox._cursor) };
    conn.hello = this._nextId++;
    this._write({ op: "hello", id: conn.hello, user: this.user, token: this._token, device, position });
  }
  _join(t) {
    const id = this._nextId++;
    this._conn.joins.set(id, t);
    this._write(__spreadValues({ op: "join", id, topic: t.topic }, t._cursor < 0 ? { recent: t._recent } : { after: t._cursor }));
  }
  _call(frame) {
    return new Promise((resolve, reject) => {
      if (this.state.name === "closed") return reject(new TeahouseError("closed", this.state.reason));
      const t = this._topics.get(frame.topic);
      frame.id = this._nextId++;
      this._calls.set(frame.id, { frame, since: t ? t._cursor : -1, sent: false, notBefore: 0, resolve, reject });
      this._flush();
    });
  }
  /**
   * Says what may be said now: of each topic's sends the first one only, and none before the topic is joined
   * and what was missed is here, so that the own message comes after it.
   */
  _flush() {
    if (this.state.name !== "live") return;
    const now = this._clock.now();
    const busy = /* @__PURE__ */ new Set();
    for (const call of this._calls.values()) {
      const { op, topic } = call.frame;
      if (op === "send") {
        const t = this._topics.get(topic);
        if (busy.has(topic) || t && (!t._joined || t._behind)) continue;
        busy.add(topic);
      }
      if (call.sent || call.notBefore > now) continue;
      call.sent = true;
      this._write(call.frame);
    }
  }
  // ---- what is heard ----
  _receive(conn, data) {
    if (conn !== this._conn) return;
    conn.seen = this._clock.now();
    this._clock.clearTimeout(conn.deadline);
    conn.deadline = 0;
    let f;
    try {
      f = JSON.parse(data) || {};
    } catch (err) {
      return;
    }
    conn.error = null;
    const t = f.topic === this.inbox.topic ? this.inbox : this._topics.get(f.topic);
    const call = this._calls.get(f.id);
    switch (f.op) {
      case "welcome":
        return this._welcome(conn, f);
      case "joined":
        return t && conn.joins.get(f.id) === t && this._joinedTo(t, f);
      // Before that they are of an earlier join, and this join's replay will bring them.
      case "event":
        return t && (t._joined || t === this.inbox) && this._event(t, f);
      case "ack":
        return call && this._acked(call, f);
      case "history":
      case "presence":
        return call && this._settle(call, f);
      case "signal":
      case "online":
        return t && t._emit(f.op, f);
      case "live":
        return t && this._caughtUp(t, f);
      case "reset":
        return t && (t._reset(f.after || 0, f.reason), this._save());
      case "error":
        return this._refused(conn, call, f);
    }
  }
  _welcome(conn, f) {
    const place = f.position || {};
    conn.live = this._clock.now();
    conn.ping = f.ping_ms || conn.ping;
    this._clock.clearTimeout(conn.opening);
    this._renewed = false;
    this._bodyLimit = f.limits && f.limits.body || BODY_LIMIT;
    if (f.user) this.user = f.user;
    this.inbox.topic = "user:" + this.user;
    const foreign = this._epoch !== void 0 && this._epoch !== place.epoch;
    this._epoch = place.epoch;
    if (foreign) this.inbox._cursor = 0;
    else if (this.inbox._cursor < 0) this.inbox._cursor = place.seq || 0;
    this._save();
    conn.beat = this._clock.setTimeout(() => this._ping(conn, ANSWER), conn.ping);
    const topics = [...this._topics.values()];
    if (foreign) {
      for (const t of topics) if (t._cursor >= 0) t._reset(-1, "epoch");
    }
    if (conn !== this._conn) return;
    this._set({ name: "live" });
    for (const t of topics) if (conn === this._conn && this._topics.get(t.topic) === t) this._join(t);
    this._flush();
  }
  _joinedTo(t, f) {
    t._joined = true;
    t._behind = f.live === false;
    if (t._cursor < 0 && (f.after >= 0 || f.head === 0)) t._cursor = f.after || 0;
    t._emit("joined", f);
    this._flush();
  }
  /** Everything up to seq has been told. */
  _caughtUp(t, { seq }) {
    t._behind = false;
    if (seq > t._cursor) t._cursor = seq;
    if (t === this.inbox) this._save();
    this._flush();
  }
  _event(t, e) {
    if (e.seq <= t._cursor) return;
    t._cursor = e.seq;
    const handed = t._own.has(e.seq);
    for (const seq of t._own) if (seq <= e.seq) t._own.delete(seq);
    if (!handed) t._deliver(e);
    if (e.key && e.from === this.user) {
      for (const call of this._calls.values()) {
        if (call.frame.key === e.key && call.frame.topic === e.topic) this._settle(call, { seq: e.seq, at: e.at });
      }
    }
    if (t === this.inbox) this._save();
  }
  _acked(call, { seq, at }) {
    const { topic, key, kind, body } = call.frame;
    const t = this._topics.get(topic);
    if (t && seq > call.since && !t._own.has(seq)) {
      if (seq > t._cursor) t._own.add(seq);
      t._deliver({ topic, seq, kind, from: this.user, key, body, at });
    }
    this._settle(call, { seq, at });
  }
  _settle(call, value, failed) {
    this._calls.delete(call.frame.id);
    if (failed) call.reject(value);
    else call.resolve(value);
    this._flush();
  }
  _refused(conn, call, f) {
    const err = new TeahouseError(f.code, f.message);
    const wait = f.retry_ms || (f.code === "rate_limited" ? 1e3 : 0);
    const later = (fn) => this._clock.setTimeout(() => conn === this._conn && fn(), wait);
    const t = conn.joins.get(f.id);
    if (call && wait) {
      call.sent = false;
      call.notBefore = this._clock.now() + wait;
      later(() => this._flush());
    } else if (call) {
      this._settle(call, err, true);
    } else if (t && wait) {
      later(() => this._topics.get(t.topic) === t && this._join(t));
    } else if (t) {
      this._topics.delete(t.topic);
      for (const c of [...this._calls.values()]) if (c.frame.topic === t.topic) this._settle(c, err, true);
      t._emit("error", err);
    } else {
      conn.error = f;
      this._emit("error", err);
    }
  }
  // ---- the place, kept over a reload ----
  _restore() {
    try {
      const { epoch, seq } = JSON.parse(this._storage.getItem(this._key()));
      if (this.user && epoch && seq >= 0) {
        this._epoch = epoch;
        this.inbox._cursor = seq;
      }
    } catch (err) {
    }
  }
  _save() {
    try {
      this._storage.setItem(this._key(), JSON.stringify({ epoch: this._epoch, seq: this.inbox._cursor }));
    } catch (err) {
    }
  }
  _key() {
    return `teahouse ${this._url} ${this.user}`;
  }
};
function connect(options = {}) {
  return new Client(options);
}
var CLOSED_FOR = {
  4100: "bad_token",
  4101: "kicked",
  4102: "bad_frame",
  4103: "bad_user",
  4104: "too_large",
  4106: "token_expired",
  4107: "forbidden"
};
var BAD_TOKEN = ["bad_token", "token_expired", "unauthorized"];
function socketURL(url) {
  const u = new URL(url || "/ws", globalThis.location && globalThis.location.href);
  u.protocol = u.protocol.replace("http", "ws");
  if (u.pathname === "/") u.pathname = "/ws";
  return u.href;
}
function localStore() {
  try {
    return globalThis.localStorage;
  } catch (err) {
    return null;
  }
}
function pageLifecycle(wake) {
  const { document: doc, addEventListener: on, removeEventListener: off } = globalThis;
  if (!doc || !on) return () => {
  };
  const shown = () => doc.visibilityState === "visible" && wake();
  for (const name of ["online", "offline", "pageshow"]) on(name, wake);
  doc.addEventListener("visibilitychange", shown);
  return () => {
    for (const name of ["online", "offline", "pageshow"]) off(name, wake);
    doc.removeEventListener("visibilitychange", shown);
  };
}
function randomKey() {
  const bytes = globalThis.crypto.getRandomValues(new Uint8Array(16));
  return Array.from(bytes, (b) => b.toString(16).padStart(2, "0")).join("");
}
function byteLength(s) {
  return encodeURIComponent(s.replace(/[\ud800-\udfff]/g, "xx")).replace(/%../g, "x").length;
}
// Annotate the CommonJS export names for ESM import in node:
0 && (module.exports = {
  TeahouseError,
  connect
});
