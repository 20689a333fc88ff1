// For web/vendor: what tus-js-client asks of this package, by what every browser has.
export const Base64 = {encode: (text) => btoa(String.fromCharCode(...new TextEncoder().encode(text)))}
