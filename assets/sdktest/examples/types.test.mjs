// The examples call wx, uni and the SDK as their types say, and nothing that a mini-program has not: no DOM is known here.
import assert from 'node:assert/strict'
import {execFileSync} from 'node:child_process'
import fs from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import {after, test} from 'node:test'

import {folder as uni, part} from './uniapp.mjs'
import {folder as wx} from './wxapp.mjs'

const tests = path.resolve(wx, '../../assets/sdktest')
const sdk = path.resolve(wx, '../../assets/sdk')
const dir = fs.mkdtempSync(path.join(os.tmpdir(), 'teahouse-types-'))
after(() => fs.rmSync(dir, {recursive: true}))

const options = {
  checkJs: true, noEmit: true, strict: true, noImplicitAny: false, noImplicitThis: false, strictNullChecks: false,
  useUnknownInCatchVariables: false, target: 'es2020', lib: ['es2020'], module: 'preserve', skipLibCheck: true,
}

/** Copies the scripts beside the SDK's types, and asks the compiler. */
function check(from, types, more = '') {
  const to = path.join(dir, path.basename(from))
  fs.mkdirSync(to)
  fs.symlinkSync(path.join(tests, 'node_modules'), path.join(to, 'node_modules'), 'junction')
  let scripts = 0
  for (const name of fs.readdirSync(from, {recursive: true})) {
    if (!/\.(js|vue)$/.test(name) || name.endsWith('teahouse.js') || name === 'main.js') continue
    const text = fs.readFileSync(path.join(from, name), 'utf8')
    fs.mkdirSync(path.dirname(path.join(to, name)), {recursive: true})
    fs.writeFileSync(path.join(to, name.replace(/\.vue$/, '.js')), name.endsWith('.vue') ? part(text, 'script') : text)
    scripts++
  }
  assert.ok(scripts >= 8, `${scripts} scripts in ${from}`)
  fs.copyFileSync(path.join(sdk, 'teahouse.d.ts'), path.join(to, 'lib/teahouse.d.ts'))
  fs.writeFileSync(path.join(to, 'platform.d.ts'), more)
  fs.writeFileSync(path.join(to, 'tsconfig.json'), JSON.stringify({compilerOptions: {...options, types: [types]}, include: ['**/*.js', '*.d.ts'], exclude: ['node_modules']}))
  try {
    execFileSync(process.execPath, [path.join(tests, 'node_modules/typescript/bin/tsc'), '-p', to], {encoding: 'utf8', timeout: 60000})
    return ''
  } catch (err) {
    return err.stdout || String(err)
  }
}

test('the mini-program', () => {
  assert.equal(check(wx, 'miniprogram-api-typings'), '')
})

test('the uni-app project', () => {
  const timers = 'declare function setTimeout(fn: () => void, ms?: number): number\ndeclare function clearTimeout(id: number): void\n'
  assert.equal(check(uni, '@dcloudio/types', timers), '')
})

test('a wrong call would be seen', () => {
  const broken = path.join(dir, 'broken')
  fs.cpSync(wx, broken, {recursive: true})
  fs.appendFileSync(path.join(broken, 'app.js'), "\nwx.connectSockets({url: 'ws://x'})\ndocument.title = ''\nwx.showToast({titel: ''})\nrequire('./lib/teahouse').connect({urll: ''})\n")
  const moved = path.join(dir, 'in')
  fs.mkdirSync(moved)
  fs.renameSync(broken, path.join(moved, 'broken'))
  const said = check(path.join(moved, 'broken'), 'miniprogram-api-typings')
  for (const word of ['connectSockets', 'document', 'titel', 'urll']) assert.match(said, new RegExp(word))
})
