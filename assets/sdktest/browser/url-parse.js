// For web/vendor: the browser's own does what tus-js-client asks of this package.
export default URL
