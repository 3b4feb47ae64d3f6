"""The contract of DynamoDB Processor: its Protobuf messages and gRPC services."""
