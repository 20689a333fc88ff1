// The API of a mini-program (wx) or of uni-app (uni), for tests: what the platform documents, and how it misbehaves.
// Where a behaviour is documented:
//   [sockets]  developers.weixin.qq.com/miniprogram/dev/api/network/websocket/wx.connectSocket.html, SocketTask.html
//   [network]  …/dev/framework/ability/network.html: limits, domain list, "fail interrupted" in the background
//   [runtime]  …/dev/framework/runtime/operating-mechanism.html: 5 s in the background, then JavaScript stands still,
//              and events and callbacks come when it is back; destroyed after 30 minutes, or earlier
//   [mdns]     …/dev/framework/ability/mDNS.html and …/api/network/mdns/*: errors, 30 s, not on iOS since 7.0.18
//   [storage]  …/dev/api/storage/wx.setStorageSync.html: 1 MB a key, 10 MB in all
//   [uni]      uniapp.dcloud.net.cn/api/request/websocket.html and socket-task.html: a Promise without callbacks;
//              `code` and `reason` of onClose only since HBuilderX 3.7.12
// What no page says, but developers report, is an option and says "reported".
import http from 'node:http'
import https from 'node:https'
import vm from 'node:vm'

/** A clock of the app that runs with the real one until it is stopped, or is told to hurry. */
export class LiveClock {
  constructor({skew = 0} = {}) {
    this.skew = skew
    this.timers = new Map()
    this.last = 0
  }
  now() {
    return this.stoppedAt ?? Date.now() + this.skew
  }
  random() {
    return Math.random()
  }
  setTimeout(fn, ms = 0, ...args) {
    return this.#add({fn: () => fn(...args), at: this.now() + Math.max(1, +ms || 0)})
  }
  setInterval(fn, ms = 0, ...args) {
    const every = Math.max(1, +ms || 0)
    return this.#add({fn: () => fn(...args), at: this.now() + every, every})
  }
  clearTimeout(id) {
    clearTimeout(this.timers.get(id)?.real)
    this.timers.delete(id)
  }
  clearInterval(id) {
    this.clearTimeout(id)
  }
  #add(timer) {
    const id = ++this.last
    this.timers.set(id, timer)
    this.#arm(id, timer)
    return id
  }
  #arm(id, timer) {
    if (this.stoppedAt === undefined) timer.real = setTimeout(() => this.#fire(id), Math.max(0, timer.at - this.now()))
  }
  #fire(id) {
    const timer = this.timers.get(id)
    if (!timer || this.stoppedAt !== undefined) return
    clearTimeout(timer.real)
    if (timer.every) {
      timer.at = this.now() + timer.every
      this.#arm(id, timer)
    } else this.timers.delete(id)
    timer.fn()
  }
  /** Lets ms pass at once, with the timers in order. */
  async pass(ms) {
    const end = this.now() + ms
    for (;;) {
      await new Promise((resolve) => setImmediate(resolve))
      let next
      for (const [id, t] of this.timers) if (t.at <= end && (!next || t.at < next.at)) next = {id, at: t.at}
      if (!next) break
      this.skew += Math.max(0, next.at - this.now())
      this.#fire(next.id)
    }
    this.skew += Math.max(0, end - this.now())
    for (const [id, t] of this.timers) clearTimeout(t.real), this.#arm(id, t)
  }
  /** Timers stand still from now on. */
  stop() {
    this.stoppedAt = this.now()
    for (const t of this.timers.values()) clearTimeout(t.real)
  }
  /** Ends a stop of ms. Timers go on with what they had left; `late`: those that are over fire now. */
  freeze(ms, late = false) {
    const before = this.now()
    this.stoppedAt = undefined
    this.skew = before + ms - Date.now()
    for (const [id, t] of this.timers) {
      if (!late) t.at += ms
      this.#arm(id, t)
    }
  }
  clear() {
    for (const id of [...this.timers.keys()]) this.clearTimeout(id)
  }
}

/**
 * makeMini(options) -> {wx (or uni), and the test's controls}
 *   api         'wx' or 'uni'
 *   WebSocket   a class like the browser's
 *   clock       LiveClock, or one with {setTimeout, clearTimeout, now} (or these under `hooks`), pass(ms), freeze(ms)
 *   storage     the Map that outlives a kill
 *   task        false: base library below 1.7: connectSocket gives nothing, wx.onSocketOpen … for the only socket
 *   errorCloses false: an error before the opening is told by onError alone (reported; onClose follows elsewhere)
 *   closeTold   when a socket that the platform closed in the background says so: 'early' within the 5 s, 'late' after
 *               coming back (default, [runtime]), or 'never' (reported)
 *   closeCodes  false: onClose has neither code nor reason ([uni], before 3.7.12)
 *   refused     what the sixth socket gives back: 'task' that never speaks (default) or 'nothing'
 *   mdns        'works', 'fails' (iOS: the search is refused), 'silent' (nothing is found), 'missing'
 *   domains     hosts that a request may go to, besides addresses in the LAN ([network]); undefined: the check is off
 *   appEvents   false: no onAppShow/onAppHide (base library below 2.1.2)
 */
export function makeMini(options) {
  const {
    api = 'wx', WebSocket, clock = new LiveClock(), storage = new Map(), task: hasTask = true, errorCloses = true,
    closeTold = 'late', closeCodes = true, refused = 'task', mdns = 'works', domains, appEvents = true,
  } = options
  if (!WebSocket) throw new Error('makeMini needs a WebSocket class')
  const time = clock.hooks ?? clock
  const sockets = new Set() // those that count for the limit
  const requests = new Set()
  const waiting = [] // callbacks for when the app is back
  const handlers = {}
  let state = 'foreground' // background: the 5 s; suspended; dead
  let online = true

  // Callbacks come later, never within the call; in the background only for 5 s [runtime].
  const tell = (fn, ...args) => {
    if (!fn || state === 'dead') return
    if (state === 'suspended') waiting.push(() => fn(...args))
    else fn(...args)
  }
  const later = (fn, ...args) => fn && queueMicrotask(() => tell(fn, ...args))
  const done = (name, o, result, failure) => {
    const res = {errMsg: `${name}:${failure ? 'fail ' + failure : 'ok'}`, ...result}
    later(failure ? o.fail : o.success, res)
    later(o.complete, res)
    return res
  }
  // Without callbacks, uni and newer wx give a Promise [uni].
  const promised = (run) => (o = {}) => {
    if (o.success || o.fail || o.complete) return run(o)
    return new Promise((resolve, reject) => void run({...o, success: resolve, fail: reject}))
  }
  const listeners = (name) => (handlers[name] ??= new Set())
  const fire = (name, value) => [...listeners(name)].forEach((fn) => tell(fn, value))
  const on = (name) => (fn) => void listeners(name).add(fn)
  const off = (name) => (fn) => void (fn ? listeners(name).delete(fn) : listeners(name).clear())
  const reachable = (url) => {
    if (!domains) return true
    const host = new URL(url).hostname
    return /^[\d.]+$/.test(host) || (/^(https|wss):/.test(url) && domains.includes(host))
  }

  // One socket. The old global form is a socket whose listeners are wx.onSocket….
  const makeSocket = (name, o) => {
    const heard = {open: [], message: [], error: [], close: []}
    const say = (what, value) => (hasTask ? heard[what] : [...listeners('socket-' + what)]).forEach((fn) => tell(fn, value))
    const socket = {readyState: 0}
    const end = (code, reason) => {
      if (socket.readyState === 3) return
      const opened = socket.readyState > 0
      socket.readyState = 3
      sockets.delete(socket)
      if (!opened) say('error', {errMsg: 'connect failed: ' + (reason || 'network error')})
      if (opened || errorCloses) say('close', closeCodes ? {code, reason} : {})
    }
    const start = () => {
      try {
        socket.real = new WebSocket(o.url)
      } catch (e) {
        return later(end, 1006, String(e.message))
      }
      socket.real.onopen = () => {
        if (socket.stalled || socket.readyState !== 0) return
        socket.readyState = 1
        say('open', {header: {}})
      }
      socket.real.onmessage = (e) => socket.stalled || socket.readyState !== 1 && socket.readyState !== 2 || say('message', {data: e.data})
      socket.real.onerror = () => {} // the close follows
      socket.real.onclose = (e) => socket.stalled || end(e.code || 1006, e.reason || 'abnormal closure')
    }
    socket.drop = (code, reason, told = true) => {
      if (!told) socket.readyState = 3, sockets.delete(socket)
      if (socket.real) socket.real.onclose = null, socket.real.onmessage = null, socket.real.close()
      end(code, reason)
    }
    socket.task = {
      CONNECTING: 0, OPEN: 1, CLOSING: 2, CLOSED: 3,
      get readyState() { return socket.readyState },
      onOpen: (fn) => void heard.open.push(fn),
      onMessage: (fn) => void heard.message.push(fn),
      onError: (fn) => void heard.error.push(fn),
      onClose: (fn) => void heard.close.push(fn),
      send(s) {
        if (typeof s?.data !== 'string' && !ArrayBuffer.isView(s?.data) && !(s?.data instanceof ArrayBuffer)) {
          return void done(name.send, s ?? {}, {}, 'parameter error: parameter.data should be String or ArrayBuffer')
        }
        // In the background nothing can be sent any more once it is suspended [network].
        if (socket.readyState !== 1) return void done(name.send, s, {}, 'SocketTask.readyState is not OPEN')
        if (!socket.stalled) socket.real.send(s.data)
        done(name.send, s, {})
      },
      close(c = {}) {
        const code = c.code ?? 1000
        if (code !== 1000 && !(code >= 3000 && code <= 4999)) return void done(name.close, c, {}, 'The code must be either 1000, or between 3000 and 4999')
        // Reported: this fails, and the socket opens all the same.
        if (socket.readyState === 0) return void done(name.close, c, {}, 'WebSocket is not connected')
        if (socket.readyState === 3) return void done(name.close, c, {}, 'wcwss taskID not exist')
        socket.readyState = 2
        done(name.close, c, {})
        if (socket.stalled) time.setTimeout(() => end(1006, 'abnormal closure'), 1000)
        else socket.real.close(code, c.reason)
      },
    }
    sockets.add(socket)
    if (online) start()
    else later(end, 1006, 'network is down')
    return socket
  }
  const silentTask = {
    readyState: 3, onOpen() {}, onMessage() {}, onError() {}, onClose() {},
    send: (s) => void done('sendSocketMessage', s, {}, 'SocketTask.readyState is not OPEN'),
    close: (c = {}) => void done('closeSocket', c, {}, 'wcwss taskID not exist'),
  }
  const connectSocket = (o) => {
    mini.connects++
    let failure
    if (typeof o.url !== 'string' || !/^wss?:\/\/./.test(o.url)) failure = `invalid url "${o.url}"`
    else if (!reachable(o.url)) failure = 'url not in domain list'
    else if (state === 'suspended') failure = 'interrupted' // [network]
    else if (hasTask && sockets.size >= 5) failure = 'exceed max task count' // 5 at once [sockets]; the words are not documented
    if (failure) {
      done('connectSocket', o, {}, failure)
      return hasTask && refused === 'task' ? silentTask : undefined
    }
    if (!hasTask) for (const s of sockets) s.drop(1000, 'replaced') // one only, the new one wins [sockets]
    const socket = makeSocket({send: 'sendSocketMessage', close: 'closeSocket'}, o)
    mini.most = Math.max(mini.most, sockets.size)
    done('connectSocket', o, {socketTaskId: mini.connects})
    return hasTask ? socket.task : undefined
  }

  const request = (o) => {
    let ended
    const finish = (result, failure) => {
      if (ended) return
      ended = true
      requests.delete(one)
      time.clearTimeout(timer)
      done('request', o, result, failure)
    }
    const one = {interrupt: () => (finish({}, 'interrupted'), call?.destroy())}
    const timer = time.setTimeout(() => (finish({}, 'timeout'), call?.destroy()), o.timeout ?? 60000)
    let call
    requests.add(one)
    mini.requests.push(o)
    if (!/^https?:\/\/./.test(o.url)) finish({}, `invalid url "${o.url}"`)
    else if (!reachable(o.url)) finish({}, 'url not in domain list')
    else if (state === 'suspended') finish({}, 'interrupted')
    else if (!online) finish({}, 'network is down')
    else {
      const method = (o.method ?? 'GET').toUpperCase()
      const text = o.data === undefined || typeof o.data === 'string' ? o.data : JSON.stringify(o.data)
      const header = {'content-type': 'application/json', ...o.header}
      call = (o.url.startsWith('https') ? https : http).request(o.url, {method, headers: header, agent: false}, (res) => {
        const parts = []
        res.on('data', (d) => parts.push(d))
        res.on('error', () => finish({}, 'network error'))
        res.on('end', () => {
          if (mini.loseAnswers) return finish({}, 'network error') // it arrived, and nobody knows
          let data = Buffer.concat(parts).toString()
          if ((o.dataType ?? 'json') === 'json') try { data = JSON.parse(data) } catch { /* then it stays text, as documented */ }
          finish({data, statusCode: res.statusCode, header: res.headers})
        })
      })
      call.on('error', (e) => finish({}, e.code ?? e.message))
      if (text !== undefined && method !== 'GET') call.write(text)
      call.end()
    }
    return {abort: one.interrupt, onHeadersReceived() {}, offHeadersReceived() {}}
  }

  let search // the running mDNS search
  const stopSearch = () => {
    time.clearTimeout(search)
    search = undefined
    fire('LocalServiceDiscoveryStop')
  }
  const discovery = {
    startLocalServiceDiscovery: promised((o) => {
      if (!o.serviceType) return void done('startLocalServiceDiscovery', o, {}, 'invalid param')
      if (search !== undefined) return void done('startLocalServiceDiscovery', o, {}, 'scan task already exist')
      if (mdns === 'fails') return void done('startLocalServiceDiscovery', o, {}, 'not support')
      search = time.setTimeout(stopSearch, 30000)
      mini.searched = o.serviceType
      done('startLocalServiceDiscovery', o, {})
      if (mdns === 'works') for (const s of mini.lan) later(() => search !== undefined && fire('LocalServiceFound', {serviceType: o.serviceType, ...s}))
    }),
    stopLocalServiceDiscovery: promised((o) => {
      if (search === undefined) return void done('stopLocalServiceDiscovery', o, {}, 'task not found')
      stopSearch()
      done('stopLocalServiceDiscovery', o, {})
    }),
    ...pairs('LocalServiceFound', 'LocalServiceLost', 'LocalServiceResolveFail', 'LocalServiceDiscoveryStop'),
  }
  function pairs(...names) {
    return Object.fromEntries(names.flatMap((n) => [['on' + n, on(n)], ['off' + n, off(n)]]))
  }

  const recorded = (name, result = () => ({})) => promised((o) => {
    mini.calls.push({name, ...o})
    return void done(name, o, result(o))
  })
  const store = (key, value) => {
    const text = JSON.stringify(value)
    if (mini.storageFull || text.length > 1 << 20) throw new Error('setStorageSync:fail exceed storage max size 10Mb')
    storage.set(key, text)
  }
  const platform = {
    connectSocket: api === 'uni' ? promised(connectSocket) : connectSocket, // wx: "Promise 风格 调用:不支持" [sockets]
    request: api === 'uni' ? promised(request) : request,
    setStorageSync: store,
    getStorageSync: (key) => (storage.has(key) ? JSON.parse(storage.get(key)) : ''), // '' for what is not there
    removeStorageSync: (key) => void storage.delete(key),
    ...(appEvents ? pairs('AppShow', 'AppHide') : {}),
    ...pairs('NetworkStatusChange'),
    getNetworkType: promised((o) => void done('getNetworkType', o, {networkType: online ? 'wifi' : 'none'})),
    ...(mdns === 'missing' ? {} : discovery),
    scanCode: promised((o) => {
      mini.calls.push({name: 'scanCode', ...o})
      const found = mini.scans.shift()
      // Documented: cancelling is a failure of this text.
      if (found === undefined) done('scanCode', o, {}, 'cancel')
      else done('scanCode', o, {result: found, scanType: 'QR_CODE', charSet: 'utf-8', path: ''})
    }),
    showModal: promised((o) => {
      mini.calls.push({name: 'showModal', ...o})
      const answer = mini.answers.shift() ?? {confirm: true}
      done('showModal', o, {confirm: !!answer.confirm, cancel: !answer.confirm, content: answer.content ?? null})
    }),
    ...Object.fromEntries([
      'showToast', 'hideToast', 'showLoading', 'hideLoading', 'vibrateShort', 'vibrateLong', 'setNavigationBarTitle',
      'stopPullDownRefresh', 'pageScrollTo', 'setClipboardData', 'navigateTo', 'redirectTo', 'switchTab', 'reLaunch', 'navigateBack',
    ].map((name) => [name, recorded(name)])),
    getSystemInfoSync: () => ({platform: 'android', SDKVersion: hasTask ? '3.5.0' : '1.6.0', brand: 'test', model: 'phone'}),
  }
  if (!hasTask) {
    const only = () => [...sockets].at(-1)?.task ?? silentTask
    Object.assign(platform, {
      // Listeners add up, and nothing takes them away (reported).
      onSocketOpen: on('socket-open'), onSocketMessage: on('socket-message'),
      onSocketError: on('socket-error'), onSocketClose: on('socket-close'),
      sendSocketMessage: (s) => only().send(s),
      closeSocket: (c) => only().close(c),
    })
  }

  const mini = {
    [api]: platform,
    api: platform,
    clock,
    storage,
    calls: [], // what was shown, opened, asked: {name, …options}
    scans: [], // what scanCode finds, in turn; none left: the user cancels
    answers: [], // of showModal, in turn: {confirm, content}; none left: confirmed
    lan: [], // what a search finds: {serviceName, ip, port}
    requests: [],
    connects: 0,
    most: 0, // sockets at once, at most
    loseAnswers: false, // requests arrive, their answers do not
    get sockets() { return [...sockets].map((s) => s.task) },
    get state() { return state },
    named: (name) => mini.calls.filter((c) => c.name === name),

    /** Of the app that runs here, and its page: onShow and onHide, whatever the version. */
    hooks: {show() {}, hide() {}},

    /** The app comes to the foreground, as at its start. */
    show() {
      fire('AppShow', {path: '', query: {}, scene: 1001})
      tell(() => mini.hooks.show())
    },

    /** To the background: 5 s more of the app's time, then nothing moves any more. */
    async suspend() {
      tell(() => mini.hooks.hide())
      fire('AppHide', {})
      state = 'background'
      await clock.pass(5000)
      for (const r of [...requests]) r.interrupt()
      if (closeTold === 'early') for (const s of [...sockets]) s.drop(1000, 'interrupted')
      await new Promise((resolve) => setImmediate(resolve))
      state = 'suspended'
      for (const s of [...sockets]) s.drop(1000, 'interrupted', closeTold !== 'never')
      clock.stop?.()
    },
    /** Back after ms. `late`: timers that ran out meanwhile fire at once; `closeFirst`: what was missed before onAppShow. */
    async resume(ms = 600000, {late = false, closeFirst = false} = {}) {
      clock.freeze(ms, late)
      state = 'foreground'
      const missed = waiting.splice(0)
      if (closeFirst) missed.forEach((fn) => fn())
      mini.show()
      if (!closeFirst) missed.forEach((fn) => fn())
      await new Promise((resolve) => setImmediate(resolve))
    },
    /** The system needs the memory: all is gone but the storage. Gives the next life, with the same options. */
    kill() {
      state = 'dead'
      for (const s of [...sockets]) s.drop(1006, '', false)
      for (const r of [...requests]) r.interrupt()
      clock.clear?.()
      return (more = {}) => makeMini({...options, clock: undefined, ...more, storage})
    },
    /** The network goes or comes. `stall`: the sockets do not notice (a tunnel), else they end. */
    network(is, {stall = false} = {}) {
      online = is
      if (!is) for (const s of [...sockets]) stall ? (s.stalled = true) : s.drop(1006, 'abnormal closure')
      fire('NetworkStatusChange', {isConnected: is, networkType: is ? 'wifi' : 'none'})
    },
    /**
     * Where scripts run: the language, timers and console, and the platform. A mini-program has no URL, TextEncoder,
     * atob, crypto, localStorage, document, fetch or WebSocket; neither has a fresh context.
     */
    context(more = {}) {
      const timers = Object.fromEntries(['setTimeout', 'clearTimeout', 'setInterval', 'clearInterval']
        .filter((n) => time[n]).map((n) => [n, (...a) => (state === 'dead' ? 0 : time[n](...a))]))
      const context = vm.createContext({[api]: platform, console, ...timers, ...more})
      vm.runInContext(`(now) => {
        const Real = Date
        globalThis.Date = class extends Real {
          constructor(...a) { a.length ? super(...a) : super(now()) }
          static now() { return now() }
        }
      }`, context)(() => time.now())
      return context
    },
  }
  return mini
}
