// Pictures of QR codes as cameras take them, made by arithmetic, so that they are the same on every machine.

/** Random numbers from a seed (mulberry32). */
export function random(seed) {
  return () => {
    seed = seed + 0x6d2b79f5 | 0
    let t = Math.imul(seed ^ seed >>> 15, 1 | seed)
    t = t + Math.imul(t ^ t >>> 7, 61 | t) ^ t
    return ((t ^ t >>> 14) >>> 0) / 4294967296
  }
}

/**
 * A picture (as ImageData is) of a code's modules on an uneven ground, somewhere near the middle.
 * size: the code's with its quiet zone, in pixels. turn: degrees. tilt: 0 flat, 0.5 strongly foreshortened to one side.
 * blur: sigma in pixels. noise: standard deviation in levels. dark, light: its two levels. shade: how much of the light
 * is gone at one side. grid: depth of the pattern that a camera makes of a screen's pixels. invert: light on dark.
 */
export function picture(modules, how, rnd) {
  const {width = 400, height = 300, size = 200, turn = 0, tilt = 0, blur = 0, noise = 0, dark = 25, light = 235, shade = 0, grid = 0, invert = false} = how
  const n = modules.length
  const cos = Math.cos(turn * Math.PI / 180)
  const sin = Math.sin(turn * Math.PI / 180)
  const cx = width / 2 + (rnd() - 0.5) * (width - size) * 0.3
  const cy = height / 2 + (rnd() - 0.5) * (height - size) * 0.3
  const side = rnd() * 2 * Math.PI // to which it is tilted, and where the shade is
  const tx = Math.cos(side)
  const ty = Math.sin(side)
  const [sway, swell, pitch, slant] = [rnd() * 9, rnd() * 9, 2 + rnd() * 2, rnd() * Math.PI]
  const levels = new Float32Array(width * height)
  const level = (x, y) => {
    const px = (x - cx) / size
    const py = (y - cy) / size
    const d = px * tx + py * ty
    const near = 1 / (1 - tilt * d)
    const flat = near * tilt * 0.6 * d // the tilted side is shorter
    const u = (px * near + tx * flat) * cos + (py * near + ty * flat) * sin + 0.5
    const v = (py * near + ty * flat) * cos - (px * near + tx * flat) * sin + 0.5
    if (u < 0 || v < 0 || u >= 1 || v >= 1) return dark + (light - dark) * (0.45 + 0.2 * Math.sin(x / 37 + sway) * Math.cos(y / 29 + swell))
    return modules[Math.floor(v * n)][Math.floor(u * n)] ? dark : light
  }
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      let p = (level(x + 0.25, y + 0.25) + level(x + 0.75, y + 0.25) + level(x + 0.25, y + 0.75) + level(x + 0.75, y + 0.75)) / 4
      if (invert) p = 255 - p
      if (grid) {
        const along = Math.sin(pitch * (x * Math.cos(slant) + y * Math.sin(slant)))
        const across = Math.sin(1.2 * pitch * (y * Math.cos(slant) - x * Math.sin(slant)))
        p *= 1 - grid * (0.5 + 0.5 * along) * (0.6 + 0.4 * across)
      }
      if (shade) p *= 1 - shade * Math.min(1, Math.max(0, 0.5 + (x - cx) / size * tx + (y - cy) / size * ty))
      levels[y * width + x] = p
    }
  }
  const seen = blur ? blurred(levels, width, height, blur) : levels
  const data = new Uint8ClampedArray(width * height * 4)
  for (let i = 0; i < seen.length; i++) {
    const p = noise ? seen[i] + noise * (rnd() + rnd() + rnd() + rnd() - 2) * 1.73 : seen[i]
    data[4 * i] = data[4 * i + 1] = data[4 * i + 2] = p
    data[4 * i + 3] = 255
  }
  return {width, height, data}
}

/** Gaussian. */
function blurred(levels, width, height, sigma) {
  const reach = Math.ceil(sigma * 3)
  const weights = Array.from({length: 2 * reach + 1}, (_, i) => Math.exp(-((i - reach) ** 2) / 2 / sigma / sigma))
  const sum = weights.reduce((a, b) => a + b)
  const pass = (from, dx, dy) => {
    const to = new Float32Array(from.length)
    for (let y = 0; y < height; y++) {
      for (let x = 0; x < width; x++) {
        let v = 0
        for (let i = -reach; i <= reach; i++) {
          const sx = Math.min(width - 1, Math.max(0, x + i * dx))
          const sy = Math.min(height - 1, Math.max(0, y + i * dy))
          v += weights[i + reach] * from[sy * width + sx]
        }
        to[y * width + x] = v / sum
      }
    }
    return to
  }
  return pass(pass(levels, 1, 0), 0, 1)
}
