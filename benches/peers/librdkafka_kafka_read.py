"""A topic read by a bare librdkafka consumer: messages come in lists of ten thousand and are counted, nothing is decoded."""

import peer

args = peer.topic_arguments()

import confluent_kafka  # noqa: E402, F401  (its import is not timed)


def job() -> None:
    count = sum(len(messages) for messages in peer.batches(args.topic, args.messages))
    if count != args.messages:
        raise SystemExit(f"{count} messages, not {args.messages}")


peer.timed(job)
