// A server that needs nothing beside it, as images for containers have it.
export default {
  output: 'standalone',
  outputFileTracingRoot: import.meta.dirname,
};
