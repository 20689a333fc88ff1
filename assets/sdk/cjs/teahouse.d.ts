// Made from ../teahouse.d.ts by go test ./assets -run TestSDKBuilds -update
// Types of the Teahouse client. What a word means stands in README.md beside this file.

/** One entry of the server's log. */
export interface TeaEvent<Body = any> {
  /** `room:NAME`, `user:ID` (an inbox) or `dm:A:B` (the talk of two). */
  topic: string
  /** Its place in the log; rises, with gaps. */
  seq: number
  /** What the body is: `message`, `voucher.redeemed`, your own. */
  kind: string
  from: string
  /** The sender's own name for it; empty if there is none. */
  key: string
  body: Body
  /** The server's clock, in milliseconds since 1970 UTC. */
  at: number
}

/** Where the connection stands. */
export type State =
  | {name: 'connecting'}
  /** `claimed`, if you gave a secret: whether the name is yours alone now. */
  | {name: 'live', claimed?: boolean}
  /** The next try comes in `delay` ms, at the time `at` (ms since 1970). */
  | {name: 'waiting', delay: number, at: number, code: number, reason: string}
  /** It does not come back by itself. `error` is the code's name: bad_token, kicked, bad_user, … */
  | {name: 'closed', code?: number, error?: string, reason: string}

/** What the server allows. */
export interface Limits {
  /** Bytes of a body, as JSON. */
  body: number
  /** Milliseconds after which a message can no longer be recalled; 0: it never can. */
  recall_ms?: number
  [other: string]: number | undefined
}

/** A send, from the moment it is written. It outlives a reload. */
export interface OutboxItem {
  topic: string
  key: string
  kind: string
  body: any
  /** When it was written, by this device's clock, in ms since 1970. */
  at: number
  state: 'pending' | 'sent' | 'failed'
  /** Its place in the log, once sent. */
  seq?: number
  /** Why it failed: the server said no, and will say no again. */
  error?: {code: string, message: string}
}

/** What the server keeps for a user of a topic, the same on all devices. */
export interface Mark {
  topic: string
  /** Read up to this seq. */
  read: number
  /** No notifications. */
  muted: boolean
  /** It is in the user's list. */
  kept: boolean
}

/** A topic of the user's list: a room that is kept, or a talk that holds something. */
export interface TopicSummary extends Mark {
  /** Its newest seq, 0 if nothing was ever said. */
  head: number
  /** Messages of others above `read`, without recalled ones; counted up to 99. */
  unread: number
  /** There are more than `unread`. */
  more: boolean
  /** One of these mentions the user (`body.mentions`). */
  mention: boolean
  /** The room has a code that was not given yet: of the rest nothing is known. */
  locked?: boolean
  /** The newest message. */
  last?: TeaEvent
}

export interface Voucher {
  code: string
  /** The backend's own id of it. */
  ref?: string
  name: string
  owner: string
  status: 'issued' | 'redeemed' | 'void' | 'expired'
  batch: string
  note: string
  issued_at: number
  expires_at?: number
  redeemed_at?: number
  redeemed_by?: string
  station?: string
  /** The secret of its rotating pass (base32), while it is issued. Never show it. */
  pass?: string
}

/** What was shown of a topic does not join on to what comes: clear it, the newest page follows. */
export interface Reset {
  topic: string
  /** The log is another one (`epoch`), what was missed is gone (`retention`), or too much (`limit`). */
  reason: 'epoch' | 'retention' | 'limit'
  /** What follows begins after this seq. */
  after: number
  /** The same in a sentence, for the developer. */
  message: string
}

/** Ends what `on` began. */
export type Off = () => void

export interface Emitter<Own> {
  on<Name extends keyof Own>(name: Name, handler: (value: Own[Name]) => void): Off
}

export interface TopicEvents {
  /** Every event, of whatever kind. */
  event: TeaEvent
  message: TeaEvent
  signal: {topic: string, from: string, body: any}
  /** A user's first device came, or the last one went. */
  online: {topic: string, user: string, online: boolean}
  reset: Reset
  /** After each (re)join: `online` users are here, you included. */
  joined: {topic: string, head: number, after: number, online: number, locked?: boolean}
  /** A send of this topic began, was sent, or failed. */
  outbox: OutboxItem
  /** The server refused the topic, or put you out since it has a code now: it is not followed any more. */
  error: TeahouseError
}

/** A room, a talk, or the inbox. */
export interface Topic extends Emitter<TopicEvents> {
  readonly topic: string
  /** Where the last run of the app ended here (a seq); undefined the first time. What is above it is new. */
  readonly place: number | undefined
  /** Events of this kind, for example `voucher.redeemed`. */
  on<Name extends keyof TopicEvents>(name: Name, handler: (value: TopicEvents[Name]) => void): Off
  on<Body = any>(kind: string, handler: (event: TeaEvent<Body>) => void): Off
  /**
   * Resolves when the server has it on disk. Until then it is in the outbox, over reloads too. Rejects when it failed,
   * was discarded, or close() was called (then it stays in the storage). A key that waits already is the same send.
   */
  send(body: any, options?: {kind?: string, key?: string}): Promise<{seq: number, at: number}>
  /**
   * Takes back your own message of this seq: its text is gone from the server, and all get an event of kind
   * `message.recalled` with `body.seq`. Goes through the outbox. Fails with `recall_too_late` after 2 minutes.
   */
  recall(seq: number): Promise<{seq: number, at: number}>
  /** Remembers how far the user has read (it never falls), and how the topic is kept. Without a connection it waits. */
  mark(what: {read?: number, muted?: boolean, kept?: boolean}): Promise<Mark>
  /**
   * The newest messages whose text has these words, oldest first; upper and lower case are the same. While `more`,
   * go on with this `before`: one call looks at a part only, and may find nothing in it.
   */
  search(text: string, options?: {before?: number, limit?: number}): Promise<{events: TeaEvent[], before: number, more: boolean}>
  /** Gives the room a code that whoever joins must know; '' takes it away. */
  protect(code: string): Promise<void>
  /** Older events, oldest first; `more`: there are others before them. */
  history(options?: {before?: number, limit?: number}): Promise<{events: TeaEvent[], more: boolean}>
  /** Who is here now. */
  presence(): Promise<string[]>
  /** For those who are live now; never stored, dropped without a connection. */
  signal(body: any): void
  /** Follows it no more. The inbox cannot be left. */
  leave(): void
}

export interface TopicOptions {
  /**
   * How many of the newest events to begin with: 0 to 500, default 50. If more than these came since the last
   * run of the app, it begins with the first that was missed.
   */
  recent?: number
  /** Begin right after the place where the last run ended: for apps that keep what they have shown. */
  resume?: boolean
  /** Of a room that has one. Without the right one the room's `error` is `code_needed` or `bad_code`. */
  code?: string
}

export interface ClientEvents {
  state: State
  /** An error that belongs to no call. */
  error: TeahouseError
  /** An event of a talk that is not open: somebody wrote to you. */
  talk: TeaEvent
  /** A mark was remembered: this device's or another one's of the same user. */
  marked: Mark
  /** Any topic's. */
  outbox: OutboxItem
}

export interface Client extends Emitter<ClientEvents> {
  /** Who you are, by `user` or the token; of a guest only after the first `live`. */
  readonly user: string | undefined
  readonly state: State
  /** What the server allows; before the first `live` only the usual `body`. */
  readonly limits: Limits
  /** Your own inbox: pushes and vouchers. It is always followed. */
  readonly inbox: Topic
  /** What is not sent yet, and what failed, oldest first. With getToken and no `user`: after the first token. */
  readonly outbox: OutboxItem[]
  room(name: string, options?: TopicOptions): Topic
  /** The talk with another user. Throws while it is not known who you are: see `user`. */
  talk(user: string, options?: TopicOptions): Topic
  topic(topic: string, options?: TopicOptions): Topic
  /** The rooms that the user keeps, and the talks. */
  topics(): Promise<TopicSummary[]>
  /** The user's own, newest first. `cursor` leads to the next page, if there is one; `now` is the server's clock. */
  vouchers(options?: {status?: Voucher['status'], cursor?: string, limit?: number}): Promise<{vouchers: Voucher[], cursor?: string, now: number}>
  /** Tries a failed send again, with the same key; of one that is pending it waits for the end. */
  resend(key: string): Promise<{seq: number, at: number}>
  /** Forgets a send. If it was on its way already, it may still arrive. */
  discard(key: string): void
  /** Tries to connect now; also after `closed`. */
  retry(): void
  /** Ends it. What was not sent stays in the storage, and goes out the next time this user connects. */
  close(): void
}

/** Keeps places and outbox. Like localStorage; may throw, then nothing outlives a reload. */
export interface Storage {
  getItem(key: string): string | null | undefined
  setItem(key: string, value: string): void
  removeItem(key: string): void
}

/** A WebSocket, whatever the platform calls it. Each of `on` may be called at most once, but for message. */
export interface Transport {
  send(text: string): void
  close(): void
}

/** What a platform gives. `web()` and `mini()` make one. */
export interface Platform {
  connect(url: string, on: {
    open(): void
    message(text: string): void
    /** It failed or ended. `code` is the close code, 0 or 1006 if there was none. */
    close(code: number, reason: string): void
  }): Transport
  /** null: nothing outlives a reload. */
  storage?: Storage | null
  /** `wake`: the app or the network came back. `sleep`: the app goes to the background or ends. Returns the undo. */
  lifecycle?(on: {wake(): void, sleep(): void}): () => void
  /** Calls `found` for each server that announces itself in the LAN, until the undo is called. */
  discover?(service: string, found: (server: {name: string, ip: string, port: number}) => void, failed: (reason: string) => void): () => void
}

export interface Clock {
  setTimeout(fn: () => void, ms: number): any
  clearTimeout(id: any): void
  /** Milliseconds since 1970. */
  now(): number
  /** 0 to 1, 1 excluded. */
  random(): number
}

export interface Options {
  /** Of the server: `https://tea.example`, `ws://192.168.1.5:8040`, or `192.168.1.5:8040`. A page may leave it out. */
  url?: string
  user?: string
  /** For a server in token mode: from your backend. */
  token?: string
  /** Asked first, and again (`refused`) when the token was refused or ran out. */
  getToken?: (refused: boolean) => string | Promise<string>
  /** In open mode: claims the name of `user` for whoever has this. The state of others is closed with `name_taken`. */
  secret?: string
  /** A name for this device, shown to operators. */
  device?: string
  /** Default: what is there: browser, wx, uni, Node. */
  platform?: Platform
  /** A class like the browser's, for example that of the package `ws`. */
  WebSocket?: any
  /** null: nothing outlives a reload. */
  storage?: Storage | null
  clock?: Clock
}

/** `code` is the server's (see docs/protocol.md), or closed, too_large, too_many, discarded, bad_url, unsupported. */
export class TeahouseError extends Error {
  constructor(code: string, message?: string)
  code: string
}

export function connect(options?: Options): Client

/** A server in the LAN. */
export interface Found {
  name: string
  /** For `connect({url})`. */
  url: string
}

/**
 * Looks for servers in the LAN (mDNS). Rejects with code `unsupported` where the platform cannot: ask for the address.
 * `timeout` in ms, default 3000.
 */
export function discover(options?: {timeout?: number, platform?: Platform}): Promise<Found[]>

/** The platform of browsers and Node; a class like the browser's WebSocket may be given. */
export function web(WebSocket?: any): Platform

/** The platform of mini-programs: give it `wx` or `uni`. */
export function mini(api: any): Platform
