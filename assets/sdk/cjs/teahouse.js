// teahouse-sdk, MIT license. Made from teahouse.js by go test ./assets -run TestSDKBuilds -update
var __defProp = Object.defineProperty;
var __getOwnPropDesc = Object.getOwnPropertyDescriptor;
var __getOwnPropNames = Object.getOwnPropertyNames;
var __hasOwnProp = Object.prototype.hasOwnProperty;
var __pow = Math.pow;
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
  connect: () => connect,
  discover: () => discover,
  mini: () => mini,
  web: () => web
});
module.exports = __toCommonJS(teahouse_exports);
var BACKOFF = 500;
var BACKOFF_CAP = 3e4;
var RESTART = 3e3;
var STABLE = 1e4;
var OPENING = 15e3;
var ANSWER = 1e4;
var WAKE_ANSWER = 3e3;
var REFUSED_WAIT = 1e3;
var SAVE_EVERY = 100;
var PLACES_MOST = 200;
var GONE = -1;
var ELSEWHERE = { epoch: "gone", seq: 1 };
var OUTBOX_MOST = 1e3;
var BODY_LIMIT = 16384;
var FATAL = {
  1002: "bad_frame",
  1007: "bad_frame",
  4100: "bad_token",
  4101: "kicked",
  4102: "bad_frame",
  4103: "bad_user",
  4104: "too_large",
  4106: "token_expired",
  4107: "forbidden",
  4108: "too_many_topics",
  4109: "code_needed",
  4110: "name_taken"
};
var PASSING = ["rate_limited", "storage_full", "storage_failed", "busy", "going_away", "internal"];
var RECALLED = "message.recalled";
var INBOX = "user:";
var TALK = "dm:";
var RESET = {
  epoch: "The server has another log now.",
  retention: "What came meanwhile is no longer kept.",
  limit: "Too much came meanwhile to replay it; history() has it."
};
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
  on(name, fn) {
    const entry = { fn };
    this._handlers.set(name, (this._handlers.get(name) || []).concat(entry));
    return () => {
      this._handlers.set(name, this._handlers.get(name).filter((e) => e !== entry));
    };
  }
  _emit(name, value) {
    for (const { fn } of this._handlers.get(name) || []) {
      try {
        fn(value);
      } catch (err) {
        typeof reportError === "function" ? reportError(err) : console.error(err);
      }
    }
  }
};
var OWN_NAMES = ["event", "signal", "online", "reset", "joined", "outbox", "error"];
var Topic = class extends Emitter {
  constructor(client, topic, { recent = 50, resume = false, code } = {}) {
    super();
    this.topic = topic;
    this._client = client;
    this._recent = recent;
    this._resume = resume;
    this._code = code;
    this._cursor = -1;
    this._joined = false;
    this._conn = null;
  }
  get place() {
    const seq = this._client._begun.get(this.topic);
    return seq >= 0 ? seq : void 0;
  }
  send(body, { kind = "message", key = randomKey() } = {}) {
    return this._client._send(this.topic, body, kind, key);
  }
  /** Two devices that recall the same say one thing: hence the key. */
  recall(seq) {
    return this.send({ seq }, { kind: RECALLED, key: "recall-" + seq });
  }
  history({ before, limit = 50 } = {}) {
    return this._client._call({ op: "history", topic: this.topic, before, limit }, (f) => ({
      events: (f.events || []).map(keyed),
      more: !!f.more
    }));
  }
  search(text, { before, limit = 50 } = {}) {
    return this._client._call({ op: "search", topic: this.topic, text, before, limit }, (f) => ({
      events: (f.events || []).map(keyed),
      before: f.before,
      more: !!f.more
    }));
  }
  mark(what = {}) {
    return this._client._remember(this.topic, what);
  }
  /** Whoever comes from now on needs the code; this client has it. */
  protect(code) {
    return this._client._call({ op: "protect", topic: this.topic, code }, () => {
      this._code = code || void 0;
    });
  }
  presence() {
    return this._client._call({ op: "presence", topic: this.topic }, (f) => f.users || []);
  }
  signal(body) {
    if (this._joined) this._client._write({ op: "signal", topic: this.topic, body });
  }
  leave() {
    this._client._leave(this);
  }
  _deliver(event) {
    this._emit("event", event);
    if (OWN_NAMES.indexOf(event.kind) < 0) this._emit(event.kind, event);
  }
};
var Client = class extends Emitter {
  constructor(options) {
    super();
    this._options = options;
    this._url = socketURL(options.url);
    this._platform = options.platform || (options.WebSocket ? web(options.WebSocket) : platformHere());
    this._storage = options.storage === void 0 ? this._platform.storage : options.storage;
    this._clock = options.clock || {
      setTimeout: (fn, ms) => setTimeout(fn, ms),
      clearTimeout: (id) => clearTimeout(id),
      now: () => Date.now(),
      random: () => Math.random()
    };
    this._token = options.token || void 0;
    this._renew = false;
    this._topics = /* @__PURE__ */ new Map();
    this._calls = /* @__PURE__ */ new Set();
    this._outbox = [];
    this._places = /* @__PURE__ */ new Map();
    this._begun = /* @__PURE__ */ new Map();
    this._moved = /* @__PURE__ */ new Map();
    this._told = /* @__PURE__ */ new Map();
    this._saved = 0;
    this._epoch = void 0;
    this._nextId = 1;
    this._conn = null;
    this._tries = 0;
    this.limits = { body: BODY_LIMIT };
    this.user = void 0;
    this.inbox = new Topic(this, INBOX);
    this.state = { name: "connecting" };
    this._identify(options.user || subject(this._token));
    const { lifecycle } = this._platform;
    this._unhook = lifecycle && lifecycle({ wake: () => this._wake(), sleep: () => this._save() });
    this._open();
  }
  get outbox() {
    return this._outbox.map((r) => Object.assign({}, r.item));
  }
  room(name, options) {
    return this.topic("room:" + name, options);
  }
  talk(user, options) {
    if (this.user === void 0) throw new TeahouseError("bad_user", "A talk needs to know who you are: give connect() the user, or wait until the state is live.");
    return this.topic(talkTopic(this.user, user), options);
  }
  /** The same topic gives the same object, until it is left. */
  topic(topic, options) {
    if (topic === this.inbox.topic) return this.inbox;
    let t = this._topics.get(topic);
    if (!t) {
      this._topics.set(topic, t = new Topic(this, topic, options));
      this._flush();
    } else if (options && options.code !== void 0) {
      t._code = options.code;
    }
    return t;
  }
  topics() {
    return this._call({ op: "topics" }, (f) => (f.topics || []).map((t) => {
      if (t.last) keyed(t.last);
      return t;
    }));
  }
  vouchers({ status, cursor, limit = 50 } = {}) {
    return this._call({ op: "vouchers", status, cursor, limit }, (f) => ({
      vouchers: f.vouchers || [],
      cursor: f.cursor,
      now: f.now
    }));
  }
  retry() {
    if (this._done) return;
    if (this.state.name === "closed") this._open();
    else this._wake();
  }
  close() {
    if (this._done) return;
    this._done = true;
    if (this._unhook) this._unhook();
    this._save();
    this._end({ name: "closed", reason: "closed by the app" });
    for (const r of this._outbox) answer(r, closed());
  }
  _opened(topic) {
    return topic === this.inbox.topic ? this.inbox : this._topics.get(topic);
  }
  _leave(t) {
    const conn = this._conn;
    if (this._topics.get(t.topic) !== t) return;
    this._topics.delete(t.topic);
    t._joined = false;
    if (conn && t._conn === conn) {
      const id = this._nextId++;
      conn.leaving.set(t.topic, id);
      this._write({ op: "leave", id, topic: t.topic });
    }
    this._flush();
  }
  // ---- the outbox ----
  _send(topic, body, kind, key) {
    if (this._done) return rejected(closed());
    let r = this._find(key, topic);
    if (r) return this._again(r);
    const text = JSON.stringify(body) || "null";
    const size = byteLength(text);
    const { body: most } = this.limits;
    if (size > most) return rejected(new TeahouseError("too_large", `The body has ${size} bytes; at most ${most} are allowed.`));
    if (this._outbox.length >= OUTBOX_MOST) return rejected(new TeahouseError("too_many", `${OUTBOX_MOST} sends wait or have failed already: discard() some.`));
    r = { item: { topic, key, kind, body: JSON.parse(text), at: this._clock.now(), state: "pending" }, waiters: [] };
    this._outbox.push(r);
    this._keep((list) => list.concat(r.item));
    const promise = wait(r);
    this._tell(r);
    this._flush();
    return promise;
  }
  resend(key) {
    if (this._done) return rejected(closed());
    const r = this._find(key);
    return r ? this._again(r) : rejected(new TeahouseError("discarded", "Nothing with this key waits in the outbox."));
  }
  discard(key) {
    const r = this._find(key);
    if (!r) return;
    this._remove(r);
    answer(r, new TeahouseError("discarded", "discarded by the app"));
    this._flush();
  }
  _find(key, topic) {
    return this._outbox.find(({ item }) => item.key === key && (topic === void 0 || item.topic === topic));
  }
  _again(r) {
    const promise = wait(r);
    if (r.item.state === "failed") {
      this._mark(r, "pending");
      this._flush();
    }
    return promise;
  }
  _mark(r, state, error) {
    const { item } = r;
    item.state = state;
    item.error = error;
    this._keep((list) => {
      const i = list.findIndex((x) => same(x, item));
      list[i < 0 ? list.length : i] = item;
      return list;
    });
    this._tell(r);
  }
  _remove(r) {
    const i = this._outbox.indexOf(r);
    if (i < 0) return false;
    this._outbox.splice(i, 1);
    this._keep((list) => list.filter((x) => !same(x, r.item)));
    return true;
  }
  /** It is in the log. */
  _sent(r, seq, at) {
    if (!this._remove(r)) return;
    Object.assign(r.item, { state: "sent", seq, error: void 0 });
    answer(r, null, { seq, at });
    this._tell(r);
  }
  _tell(r) {
    const t = this._opened(r.item.topic);
    const item = Object.assign({}, r.item);
    if (t) t._emit("outbox", item);
    this._emit("outbox", item);
  }
  // ---- the one socket ----
  _open() {
    this._drop();
    const conn = this._conn = {
      started: this._clock.now(),
      welcomed: 0,
      seen: 0,
      // when it was, and when the last frame came
      live: false,
      // it was welcomed
      ping: 25e3,
      asked: /* @__PURE__ */ new Map(),
      // id -> the send, question or Topic that waits for the answer
      held: /* @__PURE__ */ new Map(),
      // what was refused for a while -> the timer that lets it go
      leaving: /* @__PURE__ */ new Map()
      // topic -> id of the leave that was not answered yet
    };
    conn.opening = this._clock.setTimeout(() => this._lost(conn, 0, "no answer"), OPENING);
    this._set({ name: "connecting" });
    if (conn !== this._conn) return;
    const { getToken } = this._options;
    if (!getToken || this._token) return this._dial(conn);
    conn.renewed = this._renew;
    new Promise((resolve) => resolve(getToken(this._renew))).then((token) => {
      if (conn !== this._conn) return;
      this._renew = false;
      this._token = token;
      this._dial(conn);
    }, (err) => this._lost(conn, 0, sentence(err)));
  }
  _dial(conn) {
    if (conn !== this._conn) return;
    this._identify(subject(this._token));
    let socket;
    try {
      socket = this._platform.connect(this._url, {
        open: () => conn === this._conn && this._hello(conn),
        message: (text) => this._receive(conn, text),
        close: (code, reason) => this._lost(conn, code, reason)
      });
    } catch (err) {
      return this._lost(conn, 0, sentence(err));
    }
    if (conn === this._conn) conn.socket = socket;
    else socket.close();
  }
  /** Lets go of the socket, whatever its state. */
  _drop() {
    const conn = this._conn;
    const { clearTimeout: clearTimeout2 } = this._clock;
    this._conn = null;
    clearTimeout2(this._waiting);
    if (!conn) return;
    for (const id of [conn.opening, conn.beat, conn.deadline]) clearTimeout2(id);
    conn.held.forEach((id) => clearTimeout2(id));
    this._topics.forEach((t) => {
      t._joined = false;
    });
    this.inbox._joined = false;
    if (conn.socket) conn.socket.close();
  }
  _lost(conn, code, reason) {
    if (conn !== this._conn) return;
    const now = this._clock.now();
    const said = conn.error || {};
    const stable = conn.live && now - conn.welcomed >= STABLE;
    this._drop();
    if (FATAL[code] || code >= 4100 && code <= 4199 && code !== 4105) {
      const error = said.code || FATAL[code];
      if (code !== 4100 && code !== 4106 || !this._options.getToken || conn.renewed) {
        return this._end({ name: "closed", code, error, reason: reason || said.message || "" });
      }
      this._renew = true;
      this._token = void 0;
      if (!conn.live || stable) return this._open();
    }
    if (stable) this._tries = 0;
    const least = said.retry_ms || (code === 4004 || code === 4005 ? REFUSED_WAIT : 0);
    const most = Math.max(code === 4002 ? RESTART : 0, Math.min(BACKOFF_CAP, BACKOFF * __pow(2, this._tries++)));
    const delay = Math.round(least + this._clock.random() * most);
    this._waiting = this._clock.setTimeout(() => this._open(), delay);
    this._set({ name: "waiting", delay, at: now + delay, code, reason: reason || "" });
  }
  _end(state) {
    this._drop();
    this._set(state);
    for (const call of this._calls) call.reject(closed(state.reason));
    this._calls.clear();
  }
  /** The app, the page or the network came back: whether the socket still lives is to be known at once. */
  _wake() {
    const conn = this._conn;
    const now = this._clock.now();
    if (this.state.name === "closed") return;
    this._tries = 0;
    if (!conn) return this._open();
    if (!conn.live) return now - conn.started > WAKE_ANSWER ? this._open() : void 0;
    if (now - conn.seen > conn.ping + ANSWER) return this._open();
    this._ping(conn, WAKE_ANSWER);
  }
  _ping(conn, answer2) {
    const { setTimeout: setTimeout2, clearTimeout: clearTimeout2, now } = this._clock;
    clearTimeout2(conn.beat);
    conn.beat = setTimeout2(() => this._ping(conn, ANSWER), conn.ping);
    const by = now() + answer2;
    if (!conn.deadline || by < conn.by) {
      clearTimeout2(conn.deadline);
      conn.by = by;
      conn.deadline = setTimeout2(() => this._lost(conn, 0, "no answer"), answer2);
    }
    this._write({ op: "ping" });
  }
  _set(state) {
    this.state = state;
    this._emit("state", state);
  }
  // ---- what is said ----
  _write(frame) {
    const { socket } = this._conn || {};
    try {
      if (socket) socket.send(JSON.stringify(frame));
    } catch (err) {
    }
  }
  /** Says it; `r` gets the answer. */
  _ask(conn, r, frame) {
    if (conn !== this._conn) return;
    const id = this._nextId++;
    r._conn = conn;
    conn.asked.set(id, r);
    this._write(Object.assign({ id }, frame));
  }
  _hello(conn) {
    const seq = this.inbox._cursor;
    let position = seq < 0 ? void 0 : { epoch: this._epoch, seq };
    if (this._places.get(this.inbox.topic) === GONE) position = ELSEWHERE;
    const { device, secret } = this._options;
    this._write({ op: "hello", id: this._nextId++, user: this.user, token: this._token, secret, device, position });
  }
  _call(frame, answered) {
    if (this.state.name === "closed") return rejected(closed(this.state.reason));
    const r = { frame };
    r.promise = quiet(new Promise((resolve, reject) => {
      r.resolve = (f) => resolve(answered(f));
      r.reject = reject;
    }));
    this._calls.add(r);
    this._flush();
    return r.promise;
  }
  /** A mark. Reading on without a connection makes one, not one for each line: what is not on its way takes the new in. */
  _remember(topic, { read, muted, kept }) {
    for (const { frame, _conn, promise } of this._calls) {
      if (frame.op !== "mark" || frame.topic !== topic || _conn && _conn === this._conn) continue;
      if (read !== void 0) frame.read = Math.max(read, frame.read || 0);
      if (muted !== void 0) frame.muted = muted;
      if (kept !== void 0) frame.kept = kept;
      return promise;
    }
    return this._call({ op: "mark", topic, read, muted, kept }, (f) => f);
  }
  /**
   * Says what may be said now: joins; of each topic's sends the first one, and none before its topic is joined,
   * so that its ack stands in the topic's stream; questions.
   */
  _flush() {
    const conn = this._conn;
    if (!conn || !conn.live) return;
    const may = (r) => r._conn !== conn && !conn.held.has(r);
    const busy = /* @__PURE__ */ new Set();
    conn.asked.forEach((r) => r.item && busy.add(r.item.topic));
    this._topics.forEach((t) => {
      if (may(t) && !busy.has(t.topic)) this._ask(conn, t, this._join(t));
    });
    for (const r of this._outbox.slice()) {
      const { topic, key, kind, body, state } = r.item;
      const t = this._opened(topic);
      if (state !== "pending" || busy.has(topic)) continue;
      busy.add(topic);
      if (may(r) && (!t || t._joined)) this._ask(conn, r, { op: "send", topic, key, kind, body });
    }
    this._calls.forEach((r) => may(r) && this._ask(conn, r, r.frame));
  }
  _join(t) {
    const { topic } = t;
    const place = this._places.get(topic);
    const join = { op: "join", topic, code: t._code };
    if (t._cursor >= 0) join.after = t._cursor;
    else if (place === void 0) join.recent = t._recent;
    else if (place === GONE) Object.assign(join, { after: ELSEWHERE.seq, epoch: ELSEWHERE.epoch });
    else Object.assign(join, { after: place, recent: t._resume ? void 0 : t._recent });
    return join;
  }
  // ---- what is heard ----
  _receive(conn, text) {
    if (conn !== this._conn) return;
    conn.seen = this._clock.now();
    this._clock.clearTimeout(conn.deadline);
    conn.deadline = 0;
    let f;
    try {
      f = JSON.parse(text) || {};
    } catch (err) {
      return;
    }
    conn.error = null;
    const { op, id } = f;
    if (!conn.live && op !== "welcome" && op !== "error") return;
    const r = conn.asked.get(id);
    const t = this._opened(f.topic);
    conn.asked.delete(id);
    delete f.op;
    delete f.id;
    switch (op) {
      case "welcome":
        return conn.live || this._welcome(conn, f);
      case "joined":
        return r && r === t && this._joinedTo(t, f);
      case "left":
        return conn.leaving.get(f.topic) === id && conn.leaving.delete(f.topic);
      case "event":
        return this._event(conn, keyed(f));
      case "ack":
        return r && r.item && this._acked(conn, r, f);
      case "signal":
      case "online":
        return t && t._joined && t._emit(op, f);
      case "reset":
        return t && t._joined && this._reset(t, f);
      case "error":
        return this._refused(conn, r, f);
    }
    if (op === "marked") this._emit("marked", f);
    if (r && this._calls.delete(r)) r.resolve(f);
  }
  _welcome(conn, f) {
    const { epoch, seq = 0 } = f.position || {};
    const { inbox } = this;
    if (this.user !== void 0 && f.user !== this.user) {
      return this._end({ name: "closed", error: "bad_user", reason: `The server takes you for ${f.user}, not for ${this.user}: connect() again with the right user.` });
    }
    conn.live = true;
    conn.welcomed = conn.seen;
    conn.ping = f.ping_ms || conn.ping;
    conn.renewed = false;
    this._clock.clearTimeout(conn.opening);
    conn.beat = this._clock.setTimeout(() => this._ping(conn, ANSWER), conn.ping);
    if (f.limits) this.limits = f.limits;
    this.user = f.user;
    inbox.topic = INBOX + this.user;
    inbox._joined = true;
    if (this._epoch !== epoch) {
      if (this._epoch !== void 0) this._forget();
      this._epoch = epoch;
    }
    if (inbox._cursor < 0) this._move(inbox, seq);
    this._saveSoon();
    this._set(f.claimed === void 0 ? { name: "live" } : { name: "live", claimed: f.claimed });
    this._flush();
  }
  /** The log is another one. Of the old places only that there were some is kept: the app is to be told of each. */
  _forget() {
    const old = [];
    this._places.forEach((seq, topic) => old.push(topic));
    this._topics.forEach((t) => {
      if (t._cursor > 0) old.push(t.topic);
      t._cursor = -1;
    });
    this._places.clear();
    this._begun.clear();
    this._told.clear();
    for (const topic of old) this._put(topic, GONE);
    for (const r of this._outbox.slice()) {
      if (r.item.kind === RECALLED && this._remove(r)) answer(r, new TeahouseError("discarded", RESET.epoch));
    }
    for (const { frame } of this._calls) if (frame.op === "mark") delete frame.read;
  }
  _joinedTo(t, f) {
    t._joined = true;
    t._tries = 0;
    if (t._cursor < 0 && f.after >= 0 && this._places.get(t.topic) !== GONE) {
      this._move(t, f.after);
      this._saveSoon();
    }
    t._emit("joined", f);
    this._flush();
  }
  _reset(t, { topic, reason, after = 0 }) {
    this._move(t, after, true);
    const message = `${RESET[reason] || ""} Forget what you show and keep of ${topic}: the newest events follow.`;
    t._emit("reset", { topic, reason, after, message });
    this._save();
  }
  _event(conn, e) {
    const own = e.key && e.from === this.user && this._find(e.key, e.topic);
    if (own) this._sent(own, e.seq, e.at);
    if (conn === this._conn) this._take(conn, e);
    if (own) this._flush();
  }
  _acked(conn, r, { seq, at, again }) {
    const { topic, key, kind, body } = r.item;
    const t = this._opened(topic);
    this._sent(r, seq, at);
    if (!again && t && t._joined) this._take(conn, { topic, seq, kind, from: this.user, key, body, at });
    this._flush();
  }
  /** Hands an event to who it is for, once. */
  _take(conn, e) {
    const { topic, seq } = e;
    const { inbox } = this;
    const t = this._opened(topic);
    if (t && t._joined) {
      if (seq <= t._cursor) return;
      this._move(t, seq);
      t._deliver(e);
      return this._saveSoon();
    }
    if (topic.indexOf(TALK)) return;
    const leaving = conn.leaving.has(topic);
    if (!leaving) {
      if (seq <= inbox._cursor) return;
      this._move(inbox, seq);
    }
    if (!t && !(seq <= this._places.get(topic)) && !(seq <= this._told.get(topic))) {
      if (leaving) this._told.set(topic, seq);
      this._emit("talk", e);
    }
    this._saveSoon();
  }
  _refused(conn, r, f) {
    const err = new TeahouseError(f.code, f.message);
    const put = !r && this._topics.get(f.topic);
    if (put) {
      this._topics.delete(f.topic);
      put._joined = false;
      return put._emit("error", err);
    }
    if (!r) {
      conn.error = f;
      return this._emit("error", err);
    }
    r._conn = null;
    let pause = f.retry_ms;
    if (!pause && (r.item || r === this._topics.get(r.topic)) && PASSING.indexOf(f.code) >= 0) {
      r._tries = (r._tries || 0) + 1;
      pause = Math.min(BACKOFF_CAP, REFUSED_WAIT * __pow(2, r._tries - 1));
    }
    if (pause) {
      conn.held.set(r, this._clock.setTimeout(() => {
        conn.held.delete(r);
        this._flush();
      }, pause));
    } else if (r.item) {
      if (this._outbox.indexOf(r) >= 0) {
        this._mark(r, "failed", { code: f.code, message: f.message });
        answer(r, err);
      }
    } else if (r.frame) {
      this._calls.delete(r);
      r.reject(err);
    } else if (this._topics.get(r.topic) === r) {
      this._topics.delete(r.topic);
      r._emit("error", err);
    }
    this._flush();
  }
  // ---- what is kept: for each account, the places and the outbox ----
  /** Who it is; the first that is known holds. Guests are nobody: nothing of them is kept. */
  _identify(user) {
    if (!user || this.user !== void 0) return;
    this.user = user;
    this.inbox.topic = INBOX + user;
    this._account = this._url + " " + user;
    const { epoch, places } = this._load("places") || {};
    if (epoch && places) {
      this._epoch = epoch;
      for (const topic of Object.keys(places)) if (places[topic] >= GONE) this._places.set(topic, places[topic]);
    }
    this._begun = new Map(this._places);
    const seq = this._places.get(this.inbox.topic);
    if (seq >= GONE) this.inbox._cursor = Math.max(0, seq);
    const mine = this._outbox.map((r) => r.item);
    const kept = listed(this._load("outbox")).filter((x) => x && typeof x.topic === "string" && typeof x.key === "string");
    this._outbox = kept.map((x) => ({ item: Object.assign(x, { state: x.state === "failed" ? x.state : "pending" }), waiters: [] })).concat(this._outbox);
    if (mine.length) this._keep((list) => list.concat(mine));
  }
  _move(t, seq, lower) {
    t._cursor = seq;
    this._put(t.topic, seq, lower);
  }
  _put(topic, seq, lower) {
    const places = this._places;
    if (!lower && places.get(topic) >= seq) return;
    places.delete(topic);
    places.set(topic, seq);
    this._moved.set(topic, lower || this._moved.get(topic));
    if (places.size <= PLACES_MOST) return;
    for (const oldest of places.keys()) if (oldest !== this.inbox.topic) return places.delete(oldest);
  }
  _saveSoon() {
    if (!this._moved.size || this._saving) return;
    const since = this._clock.now() - this._saved;
    if (since >= 0 && since < SAVE_EVERY) this._saving = this._clock.setTimeout(() => this._save(), SAVE_EVERY - since);
    else this._save();
  }
  /** Writes the places that moved; of those that other tabs wrote the higher one holds. */
  _save() {
    this._clock.clearTimeout(this._saving);
    this._saving = 0;
    if (!this._moved.size) return;
    this._saved = this._clock.now();
    const had = this._load("places") || {};
    const places = had.epoch === this._epoch && had.places || {};
    this._moved.forEach((lower, topic) => {
      const seq = this._places.get(topic);
      if (seq === void 0) return;
      const higher = !lower && places[topic] > seq ? places[topic] : seq;
      delete places[topic];
      places[topic] = higher;
    });
    this._moved.clear();
    const names = Object.keys(places).filter((topic) => topic !== this.inbox.topic);
    for (const oldest of names.slice(0, Math.max(0, names.length + 1 - PLACES_MOST))) delete places[oldest];
    this._store("places", { epoch: this._epoch, places });
  }
  /** Changes the kept outbox. What other tabs put there stays. */
  _keep(change) {
    const list = change(listed(this._load("outbox")));
    this._store("outbox", list.length ? list : void 0);
  }
  _load(name) {
    if (!this._account || !this._storage) return;
    try {
      return JSON.parse(this._storage.getItem(`teahouse ${name} ${this._account}`));
    } catch (err) {
    }
  }
  _store(name, value) {
    if (!this._account || !this._storage) return;
    const key = `teahouse ${name} ${this._account}`;
    try {
      if (value) this._storage.setItem(key, JSON.stringify(value));
      else this._storage.removeItem(key);
    } catch (err) {
    }
  }
};
var listed = (x) => Array.isArray(x) ? x : [];
var same = (a, b) => !!a && a.key === b.key && a.topic === b.topic;
var closed = (reason = "closed by the app") => new TeahouseError("closed", reason);
var sentence = (err) => String(err && err.message || err);
var keyed = (e) => Object.assign(e, { key: e.key || "" });
function quiet(promise) {
  promise.catch(() => {
  });
  return promise;
}
var rejected = (err) => quiet(Promise.reject(err));
var wait = (r) => quiet(new Promise((resolve, reject) => r.waiters.push({ resolve, reject })));
function answer(r, err, value) {
  for (const { resolve, reject } of r.waiters.splice(0)) {
    if (err) reject(err);
    else resolve(value);
  }
}
function connect(options = {}) {
  return new Client(options);
}
function discover({ timeout = 3e3, platform } = {}) {
  return new Promise((resolve, reject) => {
    const search = (platform || platformHere()).discover;
    const fail = (reason) => {
      end();
      reject(new TeahouseError("unsupported", `The network cannot be searched here (${reason}): ask for the server's address.`));
    };
    let timer;
    let over = false;
    let stop = () => {
    };
    const end = () => {
      over = true;
      clearTimeout(timer);
      stop();
    };
    if (!search) return fail("this platform has no mDNS");
    const found = /* @__PURE__ */ new Map();
    timer = setTimeout(() => {
      end();
      resolve(Array.from(found.values()));
    }, timeout);
    stop = search("_teahouse._tcp", ({ name, ip, port }) => {
      const url = `ws://${ip.indexOf(":") < 0 ? ip : `[${ip}]`}:${port}/ws`;
      if (!found.has(url)) found.set(url, { name, url });
    }, fail);
    if (over) stop();
  });
}
function platformHere() {
  if (typeof document !== "undefined" && typeof WebSocket !== "undefined") return web();
  if (typeof wx !== "undefined" && wx.connectSocket) return mini(wx);
  if (typeof uni !== "undefined" && uni.connectSocket) return mini(uni);
  return web();
}
function web(WS) {
  if (!WS) WS = typeof WebSocket !== "undefined" ? WebSocket : nodeSocket();
  let storage = null;
  try {
    if (typeof document !== "undefined") storage = localStorage;
  } catch (err) {
  }
  return {
    storage,
    connect(url, on) {
      const ws = new WS(url);
      ws.onopen = () => on.open();
      ws.onmessage = (m) => on.message(m.data);
      ws.onerror = () => {
      };
      ws.onclose = (e) => on.close(e.code, e.reason);
      return {
        send(text) {
          if (ws.readyState === 1) ws.send(text);
        },
        close() {
          ws.onopen = () => ws.close();
          ws.onmessage = ws.onclose = null;
          try {
            ws.close();
          } catch (err) {
          }
        }
      };
    },
    lifecycle({ wake, sleep }) {
      if (typeof document === "undefined") return () => {
      };
      const seen = () => document.visibilityState === "hidden" ? sleep() : wake();
      const hooks = [[document, "visibilitychange", seen], [window, "pagehide", sleep]];
      for (const name of ["pageshow", "online", "offline"]) hooks.push([window, name, wake]);
      for (const [target, name, fn] of hooks) target.addEventListener(name, fn);
      return () => {
        for (const [target, name, fn] of hooks) target.removeEventListener(name, fn);
      };
    }
  };
}
function nodeSocket() {
  if (typeof process !== "undefined" && process.getBuiltinModule) {
    const { createRequire } = process.getBuiltinModule("module");
    for (const from of [process.argv[1], process.cwd() + "/_"]) {
      try {
        return createRequire(from)("ws");
      } catch (err) {
      }
    }
  }
  throw new TeahouseError("unsupported", "There is no WebSocket here: give connect() one, {WebSocket: require('ws')}, or a platform.");
}
function mini(api) {
  let now = {};
  let listens = false;
  function oldTask() {
    const mine = now = {};
    const task = {
      send: (o) => api.sendSocketMessage(o),
      close: (o) => {
        if (mine === now && mine.isOpen) api.closeSocket(o);
      }
    };
    for (const name of ["Open", "Message", "Error", "Close"]) {
      task["on" + name] = (fn) => {
        mine[name] = fn;
      };
      if (!listens) {
        api["onSocket" + name]((e) => {
          now.isOpen = name === "Open" || name === "Message";
          if (now[name]) now[name](e);
        });
      }
    }
    listens = true;
    return task;
  }
  return {
    storage: {
      getItem: (key) => api.getStorageSync(key),
      setItem: (key, value) => api.setStorageSync(key, value),
      removeItem: (key) => api.removeStorageSync(key)
    },
    connect(url, on) {
      let over = false;
      let task;
      const shut = () => {
        try {
          task.close({ code: 1e3, fail() {
          } });
        } catch (err) {
        }
      };
      const end = (code, reason) => {
        if (over) return;
        over = true;
        on.close(code || 0, reason || "");
      };
      const failed = (e) => {
        end(0, e && e.errMsg);
        shut();
      };
      task = api.connectSocket({ url, multiple: true, fail: (e) => end(0, e && e.errMsg) });
      if (!task || !task.onOpen) {
        if (!api.onSocketOpen) return { send() {
        }, close() {
          over = true;
        } };
        task = oldTask();
      }
      task.onOpen(() => over ? shut() : on.open());
      task.onMessage((m) => over || on.message(m.data));
      task.onError(failed);
      task.onClose((e) => end(e && e.code, e && e.reason));
      return {
        send(data) {
          task.send({ data, fail: failed });
        },
        // a lost frame has no answer: better a new connection
        close() {
          over = true;
          shut();
        }
      };
    },
    lifecycle({ wake, sleep }) {
      const hooks = [["AppShow", wake], ["AppHide", sleep], ["NetworkStatusChange", wake]];
      const each = (on) => {
        for (const [name, fn] of hooks) if (api[on + name]) api[on + name](fn);
      };
      each("on");
      return () => each("off");
    },
    discover: api.startLocalServiceDiscovery && ((serviceType, found, failed) => {
      let runs = true;
      const heard = (s) => runs && found({ name: s.serviceName, ip: s.ip, port: s.port });
      api.onLocalServiceFound(heard);
      api.startLocalServiceDiscovery({
        serviceType,
        fail(e) {
          runs = false;
          failed(e && e.errMsg || "refused");
        }
      });
      return () => {
        if (api.offLocalServiceFound) api.offLocalServiceFound(heard);
        if (runs) api.stopLocalServiceDiscovery({ fail() {
        } });
        runs = false;
      };
    })
  };
}
function socketURL(url) {
  const page = typeof location !== "undefined" && location.host ? location : null;
  const own = page && page.protocol + "//" + page.host;
  const m = /^(?:(https?|wss?):\/\/)?(\[[\da-f:.]+\]|[^\s/?#@:[\]]+)(?::(\d{1,5}))?(\/[^\s#]*)?(?:#.*)?$/i.exec(!url && own ? own : own && /^\/(?!\/)/.test(url) ? own + url : url || "");
  if (!m || m[3] > 65535) {
    throw new TeahouseError("bad_url", `${url ? `"${url}" is not the address of a server` : "connect() needs the address of the server"}: write {url: 'https://YOUR-SERVER'}, or in a LAN {url: 'ws://192.168.1.5:8040'}.`);
  }
  const scheme = m[1] || (page && page.protocol === "https:" ? "wss" : "ws");
  const path = m[4] || "/";
  return scheme.toLowerCase().replace("http", "ws") + "://" + m[2].toLowerCase() + (m[3] ? ":" + m[3] : "") + path + (path.slice(-1) === "/" ? "ws" : "");
}
function talkTopic(a, b) {
  const rank = (s) => s.replace(/[\ud800-\udbff]/g, "￿$&");
  const name = (s) => s.replace(/%/g, "%25").replace(/:/g, "%3A");
  return TALK + (rank(a) < rank(b) ? [a, b] : [b, a]).map(name).join(":");
}
function randomKey() {
  const bytes = new Uint8Array(16);
  if (typeof crypto !== "undefined" && crypto.getRandomValues) crypto.getRandomValues(bytes);
  else for (let i = 0, at = Date.now(); i < 16; i++, at /= 256) bytes[i] = Math.random() * 256 ^ at;
  return Array.from(bytes, hex).join("");
}
var hex = (byte) => (256 + byte).toString(16).slice(1);
function byteLength(s) {
  return encodeURIComponent(s.replace(/[\ud800-\udfff]/g, "xx")).replace(/%../g, "x").length;
}
function subject(token) {
  const digits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
  let bits = 0;
  let n = 0;
  let text = "";
  try {
    for (const c of token.split(".")[1].replace(/=+$/, "")) {
      bits = (bits << 6 | digits.indexOf(c)) & 16383;
      n += 6;
      if (n >= 8) text += "%" + hex(bits >> (n -= 8) & 255);
    }
    const { sub } = JSON.parse(decodeURIComponent(text));
    return typeof sub === "string" ? sub : void 0;
  } catch (err) {
  }
}
// Annotate the CommonJS export names for ESM import in node:
0 && (module.exports = {
  TeahouseError,
  connect,
  discover,
  mini,
  web
});
