# frozen_string_literal: true

# The least that is a Rack application.

require 'json'

run lambda { |env|
  if env['REQUEST_METHOD'] == 'POST'
    body = env['rack.input'].read
  else
    seen = {
      pid: Process.pid,
      self: "#{env['SERVER_NAME']}:#{env['SERVER_PORT']}",
      peer: env['REMOTE_ADDR']
    }
    body = JSON.generate(seen)
  end
  [200, { 'Content-Type' => 'application/octet-stream', 'Content-Length' => body.bytesize.to_s }, [body]]
}
