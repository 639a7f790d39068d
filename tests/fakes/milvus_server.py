"""A Milvus server of version 2.6, as far as its protocol goes: it records requests and answers searches as told.

No such server can run in the tests' environment. This one holds what we send to it, and how we read its answers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc
from google.protobuf.message import Message
from pymilvus.grpc_gen import common_pb2, milvus_pb2, milvus_pb2_grpc, schema_pb2

NOT_FOUND = 100
NO_INDEX = 700


class MilvusServer(milvus_pb2_grpc.MilvusServiceServicer):  # type: ignore[misc]
    """`hits` are rows with their scores, as (score, row); the best comes first."""

    def __init__(self) -> None:
        self.requests: list[Message] = []
        self.hits: Sequence[tuple[float, Mapping[str, Any]]] = ()
        self._grpc = grpc.server(ThreadPoolExecutor(4))
        milvus_pb2_grpc.add_MilvusServiceServicer_to_server(self, self._grpc)
        port = self._grpc.add_insecure_port("127.0.0.1:0")
        self.url = f"http://127.0.0.1:{port}"

    def __enter__(self) -> MilvusServer:
        self._grpc.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._grpc.stop(None).wait()

    def sent(self, kind: type[Message]) -> list[Any]:
        """The requests of a kind, in order."""
        return [request for request in self.requests if isinstance(request, kind)]

    # --- what the client calls; the names are the protocol's ---

    def Connect(self, request: Any, context: object) -> Any:  # noqa: N802
        return milvus_pb2.ConnectResponse(status=common_pb2.Status())

    def GetVersion(self, request: Any, context: object) -> Any:  # noqa: N802
        return milvus_pb2.GetVersionResponse(status=common_pb2.Status(), version="v2.6.4")

    def HasCollection(self, request: Any, context: object) -> Any:  # noqa: N802
        return milvus_pb2.BoolResponse(status=common_pb2.Status(), value=False)

    def DescribeCollection(self, request: Any, context: object) -> Any:  # noqa: N802
        return milvus_pb2.DescribeCollectionResponse(status=_failed(NOT_FOUND, "collection not found"))

    def DescribeIndex(self, request: Any, context: object) -> Any:  # noqa: N802
        return milvus_pb2.DescribeIndexResponse(status=_failed(NO_INDEX, "index not found"))

    def CreateCollection(self, request: Any, context: object) -> Any:  # noqa: N802
        return self._record(request)

    def CreateIndex(self, request: Any, context: object) -> Any:  # noqa: N802
        return self._record(request)

    def LoadCollection(self, request: Any, context: object) -> Any:  # noqa: N802
        return self._record(request)

    def GetLoadingProgress(self, request: Any, context: object) -> Any:  # noqa: N802
        return milvus_pb2.GetLoadingProgressResponse(status=common_pb2.Status(), progress=100)

    def Search(self, request: Any, context: object) -> Any:  # noqa: N802
        self._record(request)
        rows = [row for _, row in self.hits]
        fields = [name for name in request.output_fields if name != "id"]
        data = schema_pb2.SearchResultData(
            num_queries=1,
            top_k=len(rows),
            topks=[len(rows)],
            scores=[score for score, _ in self.hits],
            ids=schema_pb2.IDs(str_id=schema_pb2.StringArray(data=[row["id"] for row in rows])),
            fields_data=[_column(name, [row[name] for row in rows]) for name in fields],
            output_fields=fields,
            primary_field_name="id",
        )
        return milvus_pb2.SearchResults(status=common_pb2.Status(), results=data)

    def _record(self, request: Message) -> Any:
        self.requests.append(request)
        return common_pb2.Status()


def _failed(code: int, reason: str) -> Any:
    return common_pb2.Status(error_code=common_pb2.UnexpectedError, code=code, reason=reason)


def _column(name: str, values: Sequence[Any]) -> Any:
    match values[0]:
        case bool():
            kind, scalars = schema_pb2.Bool, schema_pb2.ScalarField(bool_data=schema_pb2.BoolArray(data=values))
        case int():
            kind, scalars = schema_pb2.Int64, schema_pb2.ScalarField(long_data=schema_pb2.LongArray(data=values))
        case _:
            kind, scalars = schema_pb2.VarChar, schema_pb2.ScalarField(string_data=schema_pb2.StringArray(data=values))
    return schema_pb2.FieldData(type=kind, field_name=name, scalars=scalars)
