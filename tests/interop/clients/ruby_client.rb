# Calls by the grpc gem with the contract taken from a descriptor set.
require 'base64'
require 'google/protobuf'
require 'grpc'
require 'json'

target, descriptors = ARGV
$stdout.sync = true
pool = Google::Protobuf::DescriptorPool.generated_pool
JSON.parse(File.read(descriptors)).each { |file| pool.add_serialized_file(Base64.decode64(file)) }
PACKAGE = 'dynamodb_processor.v1'.freeze
stub = GRPC::ClientStub.new(target, :this_channel_is_insecure)

while (line = $stdin.gets)
  asked = JSON.parse(line)
  input = pool.lookup("#{PACKAGE}.#{asked['method']}Request").msgclass
  output = pool.lookup("#{PACKAGE}.#{asked['method']}Response").msgclass
  request = input.decode_json(JSON.generate(asked['request']))
  path = "/#{PACKAGE}.#{asked['service']}/#{asked['method']}"
  marshal = ->(message) { input.encode(message) }
  unmarshal = ->(bytes) { output.decode(bytes) }
  options = { metadata: asked['metadata'], deadline: Time.now + asked['timeout'] }
  messages = []
  begin
    if asked['streams']
      stub.server_streamer(path, request, marshal, unmarshal, **options).each { |message| messages << message }
    else
      messages << stub.request_response(path, request, marshal, unmarshal, **options)
    end
    outcome = { code: 0 }
  rescue GRPC::BadStatus => e
    status = e.metadata['grpc-status-details-bin']
    outcome = { code: e.code, message: e.details, status: status && Base64.strict_encode64(status) }
  end
  outcome[:messages] = messages.map { |message| JSON.parse(output.encode_json(message)) }
  puts JSON.generate(outcome)
end
