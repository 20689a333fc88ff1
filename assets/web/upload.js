// Bringing a file to the server: by tus, so that it goes on where the network broke it.

const ENDPOINT = '/api/v1/uploads'
const CHUNK = 512 * 1024 // less than what proxies take at most in one request
const AGAIN = [300, 1000, 2000, 3000, 5000] // ms before each next try, the last one for good
const GIVE_UP = 30 * 60000 // of trying without a byte more
const STALL = 45_000 // ms without a byte that end a try
const GONE = [404, 410]

/** What went wrong; why() of i18n.js says it. code is the server's, or upload_network, upload_gone, file_changed. */
export class UploadError extends Error {
  constructor(code, message) {
    super(message || code)
    this.code = code
  }
}

const authorized = (token) => (token ? {Authorization: 'Bearer ' + token} : {})

let limit // asked once: a promise of the bytes a file may have, 0 for no files at all

/** The server's limit for one file in bytes; 0: it takes none; Infinity: it did not say, or not soon. */
export function largestFile(token) {
  return Promise.race([askLimit(token), new Promise((resolve) => setTimeout(resolve, 3000, Infinity))])
}

function askLimit(token) {
  if (!limit) {
    limit = fetch(ENDPOINT, {method: 'OPTIONS', headers: authorized(token)}).then((r) => {
      if (r.status === 403 || r.status === 404) return 0
      const most = r.headers.get('Tus-Max-Size')
      return r.ok && most ? Number(most) : Infinity
    }).catch(() => {
      limit = undefined // asked again the next time
      return Infinity
    })
  }
  return limit
}

/**
 * Uploads a blob. {done, cancel, pause}: done resolves to what the server says of it, {id, name, type, size, url}.
 * @param {Blob} blob
 * @param {{name: string, type: string, token: () => string, address?: string, onAddress?: (address: string) => void,
 *   onProgress?: (part: number) => void, onStage?: (stage: 'uploading'|'offline') => void}} how
 *   address: where an earlier upload of it stands
 */
export function upload(blob, how) {
  let tus = null
  let ended = false
  let cut = () => {} // ends the present try
  let nudge = () => {} // ends the wait for the next one
  const done = run()
  done.catch(() => {}) // who wants to know asks

  async function run() {
    const {Upload} = await import('./vendor/tus.js')
    let address = how.address
    let best = -1
    let since = Date.now()
    let tries = 0
    const sent = (bytes) => {
      how.onStage && how.onStage('uploading')
      if (bytes <= best) return
      best = bytes
      since = Date.now()
      tries = 0
      how.onProgress && how.onProgress(blob.size ? bytes / blob.size : 1)
    }
    for (;;) {
      if (ended) throw new UploadError('cancelled')
      try {
        return await once(Upload, address, sent, (now) => {
          address = now
          how.onAddress && how.onAddress(now)
        })
      } catch (err) {
        if (ended) throw err
        if (address && GONE.includes(err.status)) { // the server has forgotten it, so it begins anew
          address = undefined
          best = -1
        }
        if (!(await readable(blob))) throw new UploadError('file_changed')
        const wait = pauseAfter(err, tries++)
        if (wait < 0 || Date.now() - since > GIVE_UP) throw wait < 0 ? err : new UploadError('upload_network')
        how.onStage && how.onStage('offline')
        await sleep(wait)
      }
    }
  }

  function once(Upload, address, onSent, onAddress) {
    let watch = 0
    return new Promise((resolve, reject) => {
      cut = (err) => {
        tus.abort(false)
        reject(err)
      }
      // A network that swallows everything tells nobody.
      const alive = () => {
        clearTimeout(watch)
        watch = setTimeout(() => cut(new UploadError('upload_network')), STALL)
      }
      tus = new Upload(blob, {
        endpoint: address ? null : new URL(ENDPOINT, location.href).href, // with both, any refusal would make a new upload
        uploadUrl: address ? new URL(address, location.href).href : null,
        chunkSize: CHUNK,
        uploadDataDuringCreation: blob.size <= CHUNK,
        retryDelays: null, // the tries are counted here, where the network's return is seen
        storeFingerprintForResuming: false,
        fingerprint: async () => null,
        metadata: {filename: how.name, filetype: how.type},
        onBeforeRequest: (request) => {
          alive()
          for (const [name, value] of Object.entries(authorized(how.token()))) request.setHeader(name, value)
        },
        onUploadUrlAvailable: () => onAddress(new URL(tus.url, location.href).pathname),
        onProgress: (bytes) => {
          alive()
          onSent(bytes)
        },
        onSuccess: ({lastResponse} = {}) => resolve(parse(lastResponse && lastResponse.getBody()) || ask(tus.url)),
        onError: (err) => reject(told(err)),
      })
      alive()
      tus.start()
    }).finally(() => clearTimeout(watch))
  }

  // What is there after all although the answer was lost.
  async function ask(address) {
    const answer = await fetch('/api/v1/files/' + address.replace(/\/+$/, '').split('/').pop(), {headers: authorized(how.token())})
    const about = parse(await answer.text())
    if (!answer.ok || !about) throw Object.assign(new UploadError('upload_gone'), {status: answer.status})
    return about
  }

  function sleep(ms) {
    return new Promise((resolve) => {
      const timer = setTimeout(() => nudge(), ms)
      nudge = () => {
        clearTimeout(timer)
        window.removeEventListener('online', nudge)
        resolve()
      }
      window.addEventListener('online', nudge)
    })
  }

  async function stop(remove) {
    if (ended) return
    ended = true
    const was = tus
    nudge()
    if (!was) return
    cut(new UploadError('cancelled'))
    if (remove && was.url) await was.abort(true).catch(() => { /* the server forgets it by itself */ })
  }

  return {
    done,
    /** Ends it, and takes what was uploaded off the server. */
    cancel: () => stop(true),
    /** Ends it here; its address is good for another one. */
    leave: () => stop(false),
  }
}

/** How long to wait before the next try; -1: there is none. */
function pauseAfter({status, retry}, tries) {
  if (status === 429 && retry) return retry
  const passing = !status || status >= 500 && status !== 507 || [409, 423, ...GONE].includes(status) && tries < 8
  return passing ? AGAIN[Math.min(tries, AGAIN.length - 1)] : -1
}

/** The library's error with the server's code in it. */
function told(err) {
  const response = err.originalResponse
  const problem = response ? parse(response.getBody()) : null
  const status = response ? response.getStatus() : 0
  const code = (problem && problem.code) || (!response ? 'upload_network' : status === 404 || status === 410 ? 'upload_gone' : 'status_' + status)
  return Object.assign(new UploadError(code, (problem && problem.detail) || err.message), {status, retry: problem && problem.retry_ms})
}

function parse(text) {
  try {
    const value = JSON.parse(text)
    return value && typeof value === 'object' ? value : null
  } catch (err) {
    return null
  }
}

/** Whether the blob can still be read: the file of the disk may be gone or another one. */
export async function readable(blob) {
  try {
    await blob.slice(0, 1).arrayBuffer()
    return true
  } catch (err) {
    return false
  }
}
