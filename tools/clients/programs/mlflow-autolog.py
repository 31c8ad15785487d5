import mlflow
import shared

mlflow.openai.autolog()
shared.openai_calls()
mlflow.flush_trace_async_logging(terminate=True)
